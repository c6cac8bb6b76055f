#!/bin/sh
# What a container of this image does:
#
#   (nothing), --OPTION ..   the server, with these options
#   sentinel                 a Sentinel
#   COMMAND ..               anything else, such as apikeyctl or redis-cli
#
# Both keep their configuration in /data, since they rewrite it, and so do Sentinels to servers: a failover is forgotten
# where it is lost. It is made at the first start.
#
#   APIKEY_VALIDATION_TTL=60   is apikey.validation-ttl 60, and so for each setting of docs/settings.md, at every start
#   REDIS_PRIMARY=redis-1      whom, at their first start, servers are replicas of, but for itself, and Sentinels watch
#   REDIS_ANNOUNCE=redis-2     the name by which others find it; the container's host name
#   REDIS_INCLUDE="FILE .."    more configuration, such as passwords; what stands later holds
set -eu

server=$(command -v redis-server || command -v valkey-server)
name=${REDIS_ANNOUNCE:-$(hostname)}

# configure FILE LINES..: makes it, whole or not at all.
configure() {
    file=$1
    shift
    [ ! -e "$file" ] || return 0
    printf '%s\n' "$@" >"$file.new"
    mv "$file.new" "$file"
}

case ${1-} in
    sentinel)
        shift
        # One file, since a Sentinel writes all that it knows into the first.
        # shellcheck disable=SC2086  # several files
        configure /data/sentinel.conf \
            "sentinel announce-ip $name" \
            "$(cat ${REDIS_INCLUDE:?names a sentinel.conf} | sed "s/ redis-1 / ${REDIS_PRIMARY:-redis-1} /")"
        exec "$server" /data/sentinel.conf --sentinel "$@"
        ;;
    '' | -*)
        primary=${REDIS_PRIMARY-}
        [ "$primary" != "$name" ] || primary=
        # Here and in no file that is included: CONFIG REWRITE writes it here too, and a server that finds it twice does not
        # start.
        # shellcheck disable=SC2086  # several files
        configure /data/redis.conf \
            'loadmodule /usr/lib/redis/modules/libapikey.so' \
            "$(printf 'include %s\n' /etc/redis-apikey/redis.conf ${REDIS_INCLUDE-})" \
            "replica-announce-ip $name" \
            "cluster-announce-hostname $name" \
            ${primary:+"replicaof $primary 6379"}
        # The command line comes last, so that it holds against what was rewritten.
        for setting in $(env | sed -n 's/^APIKEY_\([A-Z0-9_]*\)=.*/\1/p'); do
            set -- "--apikey.$(printf %s "$setting" | tr 'A-Z_' 'a-z-')" "$(printenv "APIKEY_$setting")" "$@"
        done
        exec "$server" /data/redis.conf "$@"
        ;;
    *) exec "$@" ;;
esac
