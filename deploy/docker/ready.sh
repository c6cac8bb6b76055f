#!/bin/sh
# ready.sh [COMMAND ..]
#
# Whether the server answers to this, or, by default, has its data and the module. Not what HEALTH says of it: a low hit
# rate is no reason to take a server out of service. REDIS_CLI_ARGS says how it is asked ("--tls --cacert FILE --user
# monitoring"), and REDISCLI_AUTH with which password.
set -eu
[ $# -gt 0 ] || set -- APIKEY.HEALTH
# shellcheck disable=SC2086  # several arguments
exec timeout 3 "$(command -v redis-cli || command -v valkey-cli)" -e ${REDIS_CLI_ARGS-} "$@" >/dev/null
