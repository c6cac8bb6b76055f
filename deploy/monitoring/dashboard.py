#!/usr/bin/env python3
"""Prints a Grafana dashboard of what `apikeyctl exporter` tells Prometheus, as JSON.

    dashboard.py [--docs ADDRESS]

ADDRESS is that of your copy of this repository: panels then link to its pages. It wants Python 3.11 and what
requirements.txt names. docs/monitoring.md says how Grafana gets the dashboard.
"""

import argparse
from collections.abc import Sequence

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    DataTransformerConfig,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = DataSourceRef(type_val="prometheus", uid="${source}")
# What queries below say in short.
SHORT = {
    "$of": 'job="$job",node=~"$node"',
    "$time": "$__rate_interval",
    "$seconds": "apikey_command_duration_seconds",
    "$reads": 'command=~"apikey[.](validate|admit|checkscope|getlist)"',
    # Replicas are sent the same, so that a sum is one of primaries.
    "$primary": 'and on (job, instance, node) apikey_node_info{role="primary"}',
}

# Pages of this repository.
CAPACITY = "docs/operations.md#memory"
EXPORTER = "docs/operating.md#exporter"
HEALTH = "docs/operations.md#health"
INVALIDATIONS = "docs/operations.md#large-invalidations"
KERNEL = "docs/deploying.md#the-kernel"
LIMITS = "docs/monitoring.md#limits"
LOOP = "docs/usage.md#the-loop"
REFUSED = "docs/operations.md#refused-validations"
REGIONS = "docs/monitoring.md#regions"
REPORT = "docs/operating.md#report"
SERVERS = "docs/operating.md#which-servers"
TOP = "docs/operating.md#top"
VOUCHING = "docs/operations.md#who-may-vouch"
YES = [("no", "red"), ("yes", "green")]

# The legend of a region's series.
OF_REGION = "{{node}} db{{database}} {{namespace}}{{region}}"

Panel = timeseries.Panel | stat.Panel | statetimeline.Panel | table.Panel


def query(expression: str, legend: str, number: int = 0) -> prometheus.Dataquery:
    for short, full in SHORT.items():
        expression = expression.replace(short, full)
    made = prometheus.Dataquery().expr(expression).legend_format(legend).datasource(SOURCE)
    return made.ref_id(chr(ord("A") + number))


def described(panel: Panel, title: str, unit: str, page: str, what: str, alerts: Sequence[str]) -> None:
    """`page` says more, and `alerts` look at the same."""
    told = [what, *(f"Alert: {name}" for name in alerts), f"More: {page}"]
    panel.title(title).description("\n\n".join(told)).unit(unit).datasource(SOURCE)
    panel.links([dashboard.DashboardLink(page).url(page)])


def bounds(above: float | None, below: float | None) -> dashboard.ThresholdsConfig:
    bound, first, second = (above, "green", "red") if below is None else (below, "red", "green")
    steps = [Threshold(value=None, color=first), Threshold(value=bound, color=second)]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def graph(
    title: str,
    unit: str,
    page: str,
    what: str,
    queries: dict[str, str],
    *,
    alerts: Sequence[str] = (),
    above: float | None = None,
    below: float | None = None,
    most: float | None = None,
    stacked: bool = False,
) -> timeseries.Panel:
    """Lines over time, of expressions by their legends. `above` and `below` are the threshold of an alert."""
    panel = timeseries.Panel().span(8).height(8).min(0).show_points(VisibilityMode.NEVER).fill_opacity(10)
    described(panel, title, unit, page, what, alerts)
    for number, (legend, expression) in enumerate(queries.items()):
        panel.with_target(query(expression, legend, number).range())
    panel.tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
    legends = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
    panel.legend(legends.show_legend(True))
    if most is not None:
        panel.max(most)
    if stacked:
        panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL)).fill_opacity(40)
    if above is not None or below is not None:
        panel.thresholds(bounds(above, below))
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED))
    return panel


def latest(
    title: str,
    unit: str,
    page: str,
    what: str,
    expression: str,
    *,
    alerts: Sequence[str] = (),
    above: float | None = None,
    below: float | None = None,
) -> stat.Panel:
    """One number, as it is now."""
    panel = stat.Panel().span(4).height(8).color_mode(BigValueColorMode.BACKGROUND)
    described(panel, title, unit, page, what, alerts)
    panel.with_target(query(expression, title).range()).thresholds(bounds(above, below))
    return panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))


def states(
    title: str,
    page: str,
    what: str,
    queries: dict[str, str],
    names: Sequence[tuple[str, str]],
    *,
    alerts: Sequence[str],
) -> statetimeline.Panel:
    """What was so, and when: `names` and colours of 0, 1, .."""
    panel = statetimeline.Panel().span(10).height(8).show_value(VisibilityMode.AUTO)
    described(panel, title, "none", page, what, alerts)
    for number, (legend, expression) in enumerate(queries.items()):
        panel.with_target(query(expression, legend, number).range())
    results = {str(value): ValueMappingResult(text=name, color=color) for value, (name, color) in enumerate(names)}
    return panel.mappings([ValueMap(options=results)])


def rows(title: str, page: str, what: str, expression: str, columns: Sequence[str]) -> table.Panel:
    """Labels of what there is now."""
    panel = table.Panel().span(12).height(7)
    described(panel, title, "none", page, what, ())
    panel.with_target(query(expression, "").instant().format(PromQueryFormat.TABLE))
    options = {"include": {"names": columns}}
    return panel.with_transformation(DataTransformerConfig(id_val="filterFieldsByName", options=options))


ROWS: dict[str, list[Panel]] = {
    "Health": [
        latest(
            "Nodes away",
            "none",
            EXPORTER,
            "Servers that give no figures: the exporter's log says why.",
            "count(apikey_up{$of} == 0) or 0 * count(apikey_up{$of})",
            alerts=["ApikeyDown"],
            above=1,
        ),
        states(
            "Status",
            HEALTH,
            "As HEALTH says it: `apikeyctl nodes` has the reasons.",
            {
                "{{node}}": 'apikey_health_status{$of,status="degraded"}'
                ' + ignoring (status) 2 * apikey_health_status{$of,status="unhealthy"}'
                " or on (job, instance, node) (apikey_up{$of} == 0) + 3"
            },
            [("healthy", "green"), ("degraded", "orange"), ("unhealthy", "red"), ("away", "dark-red")],
            alerts=["ApikeyUnhealthy", "ApikeyDegraded", "ApikeyDown"],
        ),
        states(
            "Can say VALID, and store",
            VOUCHING,
            "Where nothing can be revoked, or the cache is switched off, every read is a miss.",
            {
                "{{node}} vouches": "apikey_vouches{$of}",
                "{{node}} is enabled": "apikey_enabled{$of}",
                "{{node}} has writes enabled": "apikey_writes_enabled{$of}",
            },
            YES,
            alerts=["ApikeyWritesRefused"],
        ),
        graph(
            "Time of a scrape",
            "s",
            EXPORTER,
            "How long all servers took to give these figures. One that does not answer costs a second.",
            {"{{instance}}": 'apikey_scrape_duration_seconds{job="$job"}'},
        ).span(4),
        states(
            "Who watches",
            SERVERS,
            "Whether the exporter answers, is told which servers there are, and finds the module on them.",
            {
                "{{instance}} answers": 'up{job="$job"}',
                "{{instance}} knows the servers": 'apikey_discovery_up{job="$job"}',
                "{{node}} has the module": "apikey_module_loaded{$of}",
            },
            YES,
            alerts=["ApikeyExporterDown", "ApikeyServersNotFound", "ApikeyModuleMissing"],
        ),
        graph(
            "Connections of maxclients",
            "percentunit",
            KERNEL,
            "Beyond it nobody is let in.",
            {"{{node}}": "apikey_server_connections{$of} / apikey_server_connections_limit{$of}"},
            alerts=["ApikeyConnectionsHigh"],
            above=0.8,
            most=1,
        ).span(10),
        rows(
            "Nodes",
            "docs/operating.md#nodes",
            "What each server is.",
            "apikey_node_info{$of} * on (job, instance, node) group_left (version) apikey_build_info"
            " or on (job, instance, node) apikey_node_info{$of}",
            ["node", "role", "server", "server_version", "version"],
        ),
        rows(
            "Alerts that fire",
            "docs/monitoring.md#alerts",
            "Those of deploy/monitoring/alerts.yml, where Prometheus has them.",
            'ALERTS{alertname=~"Apikey.+",alertstate="firing"}',
            ["alertname", "severity", "node", "instance"],
        ),
    ],
    "Answers": [
        latest(
            "Hit rate",
            "percentunit",
            HEALTH,
            "Of what is looked up, at the chosen nodes together.",
            'sum(rate(apikey_lookups_total{$of,result="hit"}[$time])) / sum(rate(apikey_lookups_total{$of}[$time]))',
            alerts=["ApikeyHitRateLow"],
            below=0.8,
        ),
        graph(
            "Hit rate of each node",
            "percentunit",
            HEALTH,
            "It rises by itself after a start or a large TAGINVAL. Else look at evictions, at stale fills, and for "
            "readers that do not fill.",
            {
                "{{node}}": 'rate(apikey_lookups_total{$of,result="hit"}[$time])'
                " / ignoring (result) sum without (result) (rate(apikey_lookups_total{$of}[$time]))"
            },
            alerts=["ApikeyHitRateLow"],
            below=0.8,
            most=1,
        ).span(10),
        graph(
            "Hits and misses",
            "ops",
            HEALTH,
            "Lookups of records, decisions and lists.",
            {"{{result}}": "sum by (result) (rate(apikey_lookups_total{$of}[$time]))"},
            stacked=True,
        ).span(10),
        graph(
            "Answers by code",
            "ops",
            HEALTH,
            "VALIDATEs that found something, by what they answered.",
            {"{{code}}": "sum by (code) (rate(apikey_answers_total{$of}[$time]))"},
            stacked=True,
        ),
        graph(
            "Refusals of each node",
            "ops",
            REFUSED,
            "Somebody guesses, or goes on with a key that is gone: APIKEY.LOG says who.",
            {"{{node}}": 'sum without (code) (rate(apikey_answers_total{$of,code!~"VALID|UNVERIFIED"}[$time]))'},
            alerts=["ApikeyRefusalsHigh"],
            above=1,
        ),
        graph(
            "Error replies",
            "percentunit",
            HEALTH,
            "Of all commands of the server, not the module's alone, so many were replied an error: INFO errorstats "
            "says which.",
            {
                "{{node}}": "rate(apikey_server_error_replies_total{$of}[$time])"
                " / rate(apikey_server_commands_total{$of}[$time])"
            },
        ),
    ],
    "Response time, in the server": [
        graph(
            "VALIDATE",
            "s",
            REPORT,
            "What so many of the calls took at most, at the chosen nodes together. Redis 6.2 does not tell.",
            {
                legend: "histogram_quantile("
                + share
                + ', sum by (le) (rate($seconds_bucket{$of,command="apikey.validate"}[$time])))'
                for legend, share in [("50 of 100", "0.5"), ("95 of 100", "0.95"), ("99 of 100", "0.99")]
            },
        ),
        graph(
            "Reads on average",
            "s",
            TOP,
            "VALIDATE, ADMIT, CHECKSCOPE and GETLIST. Very large records and lists take long; else the machine is too "
            "busy.",
            {"{{node}} {{command}}": "rate($seconds_sum{$of,$reads}[$time]) / rate($seconds_count{$of,$reads}[$time])"},
            alerts=["ApikeyReadsSlow"],
            above=0.01,
        ),
        graph(
            "99 of 100 calls",
            "s",
            REPORT,
            "Of each command, at the chosen nodes together. Redis 6.2 does not tell.",
            {"{{command}}": "histogram_quantile(0.99, sum by (le, command) (rate($seconds_bucket{$of}[$time])))"},
        ),
        graph(
            "Calls",
            "ops",
            REPORT,
            "Of each of the module's commands, at the chosen nodes together.",
            {"{{command}}": "sum by (command) (rate($seconds_count{$of}[$time]))"},
        ).span(12),
        graph(
            "Time of the main thread",
            "percentunit",
            REPORT,
            "The share that the module's commands take of it. At 1 a node does nothing else.",
            {"{{node}}": "sum without (command) (rate($seconds_sum{$of}[$time]))"},
        ).span(12),
    ],
    "Entries and memory": [
        graph(
            "Entries by kind",
            "short",
            HEALTH,
            "Of primaries, dead ones that are not yet removed among them.",
            {"{{kind}}": "sum by (kind) (apikey_entries{$of} $primary)"},
            stacked=True,
        ),
        graph(
            "Entries of each node",
            "short",
            HEALTH,
            "A replica has those of its primary.",
            {"{{node}}": "sum without (kind) (apikey_entries{$of})"},
        ),
        graph(
            "Tags",
            "short",
            HEALTH,
            "Those that have an entry.",
            {"{{node}}": "apikey_tags{$of}"},
        ),
        graph(
            "Memory of maxmemory",
            "percentunit",
            CAPACITY,
            "A node without maxmemory has no line. `apikeyctl plan` says when it will be full.",
            {"{{node}}": "apikey_server_memory_used_bytes{$of} / (apikey_server_memory_limit_bytes{$of} > 0)"},
            alerts=["ApikeyMemoryHigh"],
            above=0.9,
            most=1,
        ),
        graph(
            "Memory",
            "bytes",
            CAPACITY,
            "Of the server; and of the index of tags, which is in it.",
            {"{{node}}": "apikey_server_memory_used_bytes{$of}", "{{node}} index": "apikey_index_bytes{$of}"},
        ),
        graph(
            "Evictions",
            "percentunit",
            CAPACITY,
            "Entries that went for want of memory, of those that are stored at the same time.",
            {
                "{{node}}": "rate(apikey_evicted_entries_total{$of}[$time])"
                ' / ignoring (result) rate(apikey_fills_total{$of,result="stored"}[$time])'
            },
            alerts=["ApikeyEvictionsHigh"],
            above=0.1,
        ),
    ],
    "Fills and invalidations": [
        graph(
            "Fills",
            "ops",
            HEALTH,
            "Of primaries: stored, refused by their token, refused by max-absent.",
            {"{{result}}": "sum by (result) (rate(apikey_fills_total{$of}[$time]) $primary)"},
            stacked=True,
        ),
        graph(
            "Stale fills",
            "ops",
            HEALTH,
            "Refused by their token: very much is invalidated at once, or tokens come from elsewhere.",
            {"{{node}}": 'rate(apikey_fills_total{$of,result="stale"}[$time])'},
            alerts=["ApikeyFillsStale"],
            above=1,
        ),
        graph(
            "Invalidations",
            "ops",
            HEALTH,
            "Of primaries: tags of TAGINVAL, keys of INVAL, SETVALs without a token, flushes of a database.",
            {"{{by}}": "sum by (by) (rate(apikey_invalidations_total{$of}[$time]) $primary)"},
        ),
        graph(
            "Killed entries",
            "ops",
            HEALTH,
            "Those that TAGINVAL and INVAL found alive.",
            {"{{node}}": "rate(apikey_killed_entries_total{$of}[$time])"},
        ).span(12),
        graph(
            "Dead entries",
            "short",
            INVALIDATIONS,
            "They take memory until they are removed; those of a replica its primary removes.",
            {"{{node}}": "apikey_reclaim_backlog_entries{$of}"},
            alerts=["ApikeyReclaimStuck"],
        ).span(12),
    ],
    "Regions": [
        graph(
            "Hit rate of regions",
            "percentunit",
            REGIONS,
            "Answers that were no miss, of those that were not told to wait.",
            {
                OF_REGION: "sum without (answer) "
                '(rate(apikey_region_answers_total{$of,answer=~"hit|stale|absent"}[$time]))'
                ' / sum without (answer) (rate(apikey_region_answers_total{$of,answer!="wait"}[$time]))'
            },
            alerts=["ApikeyRegionHitRateLow", "ApikeyRegionHitRateCritical"],
            below=0.8,
            most=1,
        ),
        graph(
            "Answers of regions",
            "ops",
            REGIONS,
            "Of CACHE.GET and MGET: of all regions together.",
            {"{{answer}}": "sum by (answer) (rate(apikey_region_answers_total{$of}[$time]))"},
            stacked=True,
        ),
        graph(
            "Lookups of regions",
            "ops",
            REGIONS,
            "Answers of each region, on all nodes together.",
            {
                "db{{database}} {{namespace}}{{region}}": "sum by (database, namespace, region)"
                " (rate(apikey_region_answers_total{$of}[$time]))"
            },
        ),
        graph(
            "Entries of regions",
            "short",
            REGIONS,
            "Of primaries, with those that are dead and not yet removed.",
            {
                OF_REGION: "apikey_region_entries{$of} $primary",
                f"{OF_REGION} dead": "apikey_region_dead_entries{$of} $primary",
            },
        ),
        graph(
            "Memory of regions",
            "bytes",
            REGIONS,
            "Of primaries: each region, and all of them.",
            {OF_REGION: "apikey_region_bytes{$of} $primary", "{{node}} all": "apikey_cached_bytes{$of} $primary"},
        ),
        graph(
            "Regions and their bounds",
            "percentunit",
            REGIONS,
            "Of primaries: what each has of its MAXBYTES, or of its MAXENTRIES. One without a bound has no line.",
            {
                OF_REGION: "apikey_region_bytes{$of} / (apikey_region_limit_bytes{$of} > 0) $primary",
                f"{OF_REGION} entries": "apikey_region_entries{$of} / (apikey_region_limit_entries{$of} > 0) $primary",
            },
            alerts=["ApikeyRegionFull"],
            above=0.95,
        ),
        graph(
            "Evictions of regions",
            "percentunit",
            REGIONS,
            "Of primaries: entries that went for want of room, of those that the region had in five minutes.",
            {
                OF_REGION: "increase(apikey_region_evicted_entries_total{$of}[5m])"
                " / (increase(apikey_region_evicted_entries_total{$of}[5m]) + apikey_region_entries{$of}) $primary"
            },
            alerts=["ApikeyRegionEvictionsHigh", "ApikeyRegionEvictionsCritical"],
            above=0.1,
        ),
        graph(
            "Loads of regions",
            "ops",
            REGIONS,
            "Of primaries: leases that were given to who loads, and fills that their token refused.",
            {
                f"{OF_REGION} leases": "rate(apikey_region_leases_total{$of}[$time]) $primary",
                f"{OF_REGION} refused": "rate(apikey_region_refused_fills_total{$of}[$time]) $primary",
            },
        ),
        graph(
            "Oldest entries of regions",
            "s",
            REGIONS,
            "Of some entries of each region, the age of the oldest.",
            {OF_REGION: "apikey_region_oldest_seconds{$of}"},
        ),
        graph(
            "Number of regions",
            "short",
            REGIONS,
            "Those that there are, and those of them that have no series, since a server has more than 200.",
            {"{{node}}": "apikey_regions{$of}", "{{node}} left out": "apikey_regions_left_out{$of}"},
        ),
    ],
    "Limits": [
        graph(
            "Admissions by result",
            "ops",
            LIMITS,
            "What ADMIT answered of valid keys, at the chosen nodes together: let through, too fast, used up, or "
            "counted under the same id before.",
            {
                "admitted": "sum(rate(apikey_admitted_total{$of}[$time]))",
                "rate limited": "sum(rate(apikey_rate_limited_total{$of}[$time]))",
                "usage exceeded": "sum(rate(apikey_usage_exceeded_total{$of}[$time]))",
                "repeated": "sum(rate(apikey_repeated_ids_total{$of}[$time]))",
            },
            stacked=True,
        ),
        graph(
            "Refused by limits",
            "percentunit",
            LIMITS,
            "Of the requests that limits judged: APIKEY.LOG says whose.",
            {
                "{{node}}": "(rate(apikey_rate_limited_total{$of}[$time])"
                " + rate(apikey_usage_exceeded_total{$of}[$time]))"
                " / (rate(apikey_admitted_total{$of}[$time]) + rate(apikey_rate_limited_total{$of}[$time])"
                " + rate(apikey_usage_exceeded_total{$of}[$time]))"
            },
            alerts=["ApikeyRequestsLimited"],
            above=0.5,
            most=1,
        ),
        graph(
            "Ids forgotten early",
            "short",
            LIMITS,
            "In five minutes: a request that is sent again counts twice then. Raise apikey.max-request-ids.",
            {"{{node}}": "increase(apikey_ids_dropped_early_total{$of}[5m])"},
            alerts=["ApikeyIdsDroppedEarly"],
            above=0,
        ),
    ],
    "Usage": [
        graph(
            "Uses",
            "ops",
            LOOP,
            "Of primaries: counted, settled by ACK, taken by TAKE and FLUSH.",
            {
                "counted": "sum(rate(apikey_usage_counted_total{$of}[$time]) $primary)",
                "settled": "sum(rate(apikey_usage_settled_total{$of}[$time]) $primary)",
                "taken": "sum(rate(apikey_usage_taken_total{$of}[$time]) $primary)",
            },
        ),
        graph(
            "Uses that are not settled",
            "short",
            LOOP,
            "Pending: not handed over. Leased: handed over, and not acknowledged.",
            {"{{node}} pending": "apikey_usage_pending{$of}", "{{node}} leased": "apikey_usage_leased{$of}"},
        ),
        graph(
            "Conservation",
            "short",
            "docs/monitoring.md#queries",
            "Uses that were counted since the start and are nowhere: 0, or what was deleted with its counter. Of "
            "primaries that were not restarted or promoted since: what a counter held before was not counted there.",
            {
                "{{node}}": "apikey_usage_counted_total{$of} - apikey_usage_settled_total{$of}"
                " - apikey_usage_taken_total{$of} - apikey_usage_leased{$of} - apikey_usage_pending{$of} $primary"
            },
        ),
        graph(
            "Oldest lease",
            "s",
            LOOP,
            "Since it was first given out. Where it grows no consumer is at work, or it can't acknowledge.",
            {"{{node}}": "apikey_usage_oldest_lease_seconds{$of}"},
            alerts=["ApikeyLeaseOld"],
            above=900,
        ).span(6),
        graph(
            "Open batches",
            "short",
            LOOP,
            "Those that are not settled.",
            {"{{node}}": "apikey_usage_open_batches{$of}"},
        ).span(6),
        graph(
            "Redeliveries",
            "ops",
            LOOP,
            "Deliveries that were not a batch's first: a consumer died, or takes longer than its lease.",
            {"{{node}}": "rate(apikey_usage_redeliveries_total{$of}[$time])"},
        ).span(6),
        graph(
            "Counters",
            "short",
            LOOP,
            "Keys that count uses; those of them that have something pending.",
            {"{{node}}": "apikey_usage_counters{$of}", "{{node}} pending": "apikey_usage_pending_counters{$of}"},
        ).span(6),
    ],
}


def label(name: str, title: str, series: str) -> dashboard.QueryVariable:
    """A variable with the values that a label has."""
    made = dashboard.QueryVariable(name).label(title).query(f"label_values({series}, {name})").datasource(SOURCE)
    return made.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).sort(VariableSort.ALPHABETICAL_ASC)


def build(docs: str | None) -> dashboard.Dashboard:
    made = dashboard.Dashboard("redis-apikey").uid("redis-apikey").tags(["redis", "redis-apikey"]).readonly()
    made.description("API keys that are cached, by what apikeyctl exporter tells.")
    made.refresh("30s").time("now-3h", "now").tooltip(DashboardCursorSync.CROSSHAIR)
    made.with_variable(dashboard.DatasourceVariable("source").label("Data source").type("prometheus"))
    made.with_variable(label("job", "Job", "apikey_up"))
    nodes = label("node", "Node", 'apikey_up{job="$job"}')
    made.with_variable(nodes.multi(True).include_all(True).all_value(".+"))
    number = 0
    for title, panels in ROWS.items():
        number += 1
        made.with_row(dashboard.Row(title).id(number))
        for panel in panels:
            number += 1
            page = panel.build().links
            if docs and page:
                page[0].url = f"{docs.rstrip('/')}/{page[0].url}"
            else:
                panel.links([])
            made.with_panel(panel.id(number))
    return made


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Prints a Grafana dashboard for apikeyctl exporter, as JSON.")
    parser.add_argument("--docs", metavar="ADDRESS", help="of your copy of this repository: panels link to its pages")
    print(JSONEncoder(indent=2).encode(build(parser.parse_args().docs).build()))
