//! The options that say where the servers are and who asks.

use std::path::PathBuf;

use clap::Args;

/// As the command line has them; [`super::Access`] is what is made of them.
// Not Debug: a password may be among them.
#[derive(Args, Clone)]
#[command(next_help_heading = "Connection")]
pub struct ConnectFlags {
    /// A server: redis[s]://[user:password@]host[:port][/database]; its replicas are found by it
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "APIKEYCTL_URL",
        hide_env_values = true,
        default_value = "redis://127.0.0.1:6379"
    )]
    pub url: String,

    /// The ACL user; its password stands in REDISCLI_AUTH, or in the URL
    #[arg(long, global = true, value_name = "NAME", env = "APIKEYCTL_USER")]
    pub user: Option<String>,

    /// The URL is that of one node of a Redis Cluster: the others are found by it
    #[arg(long, global = true)]
    pub cluster: bool,

    /// Sentinels that know the primary and its replicas; of the URL its host is not asked then
    #[arg(long, global = true, value_name = "NAME@HOST:PORT,..", env = "APIKEYCTL_SENTINEL")]
    pub sentinel: Option<String>,

    /// The Sentinels' own ACL user; its password stands in APIKEYCTL_SENTINEL_AUTH
    #[arg(long, global = true, value_name = "NAME", env = "APIKEYCTL_SENTINEL_USER")]
    pub sentinel_user: Option<String>,

    /// This server alone, and not the replicas that it tells of
    #[arg(long, global = true)]
    pub alone: bool,

    /// TLS, as rediss:// says it too; with --sentinel the Sentinels as well
    #[arg(long, global = true)]
    pub tls: bool,

    /// The CA that has signed the servers' certificates, as PEM (the system's)
    #[arg(long, global = true, value_name = "FILE", env = "APIKEYCTL_CACERT")]
    pub cacert: Option<PathBuf>,

    /// A certificate to show, as PEM, with --cert-key
    #[arg(long, global = true, value_name = "FILE", env = "APIKEYCTL_CERT")]
    pub cert: Option<PathBuf>,

    /// The key of --cert, as PEM
    #[arg(long, global = true, value_name = "FILE", env = "APIKEYCTL_CERT_KEY")]
    pub cert_key: Option<PathBuf>,

    /// TLS that takes any certificate: whoever is in between can read and say everything
    #[arg(long, global = true)]
    pub insecure: bool,

    /// How long a server may take to let one in, and to answer what takes it no time
    #[arg(
        long,
        global = true,
        value_name = "SECONDS",
        default_value_t = 5,
        value_parser = clap::value_parser!(u64).range(1..=3600)
    )]
    pub timeout: u64,
}
