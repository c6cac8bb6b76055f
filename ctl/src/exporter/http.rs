//! The HTTP of it: which path has what, and that a signal ends it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::Arc;
use std::thread;

use anyhow::{anyhow, Context, Result};
use tiny_http::{Header, Method, Request, Response};
use url::Url;

use super::page::page;
use super::targets::{Refused, Targets};
use crate::output::{note, Verdict};

/// So many scrapes at once: servers are not asked for more, however many ask here.
const AT_ONCE: usize = 4;

const PLAIN: &str = "text/plain; charset=utf-8";

pub struct Server(Arc<tiny_http::Server>);

pub fn listen(at: SocketAddr) -> Result<Server> {
    let server = tiny_http::Server::http(at)
        .map_err(|error| anyhow!("--listen {at}: {error}; is another exporter there?"))?;
    Ok(Server(Arc::new(server)))
}

impl Server {
    pub fn address(&self) -> Result<SocketAddr> {
        self.0.server_addr().to_ip().context("--listen is no address of TCP")
    }

    /// Answers until a signal comes, and ends what was begun. An error: it can't listen any more.
    pub fn answer(&self, targets: &Targets) -> Result<Verdict> {
        let is_ended = Arc::new(AtomicBool::new(false));
        let (server, ended) = (self.0.clone(), is_ended.clone());
        let end = move || {
            ended.store(true, SeqCst);
            // Each wakes one.
            (0..AT_ONCE).for_each(|_| server.unblock());
        };
        ctrlc::set_handler(end.clone()).context("could not take over SIGTERM")?;
        let serve = || loop {
            match self.0.recv() {
                Ok(request) => reply(request, targets),
                Err(_) if is_ended.load(SeqCst) => return Ok(()),
                Err(error) => {
                    end();
                    return Err(error).context("can't listen any more");
                }
            }
        };
        thread::scope(|scope| {
            let serving: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(serve)).collect();
            let ended = serving.into_iter().map(|thread| {
                thread.join().unwrap_or_else(|_| Err(anyhow!("a scrape ended in a bug")))
            });
            ended.collect::<Vec<_>>().into_iter().collect::<Result<Vec<()>>>()
        })?;
        Ok(Verdict::Well)
    }
}

/// A status, a content type and a body.
struct Answer(u16, &'static str, String);

impl Answer {
    fn plain(status: u16, text: &str) -> Self {
        Self(status, PLAIN, format!("{text}\n"))
    }
}

fn reply(request: Request, targets: &Targets) {
    let Answer(status, kind, body) = answer(&request, targets);
    let response = Response::from_string(body).with_status_code(status);
    let response = match Header::from_bytes("Content-Type", kind) {
        Ok(header) => response.with_header(header),
        Err(()) => response,
    };
    // Who asked may have gone meanwhile; that is theirs to tell.
    let _ = request.respond(response);
}

fn answer(request: &Request, targets: &Targets) -> Answer {
    if !matches!(request.method(), Method::Get | Method::Head) {
        return Answer::plain(405, "only GET and HEAD");
    }
    let Ok(url) = Url::parse("http://exporter").and_then(|base| base.join(request.url())) else {
        return Answer::plain(400, "no path that can be read");
    };
    match url.path() {
        "/metrics" => metrics(&url, accepts_open_metrics(request), targets),
        "/healthz" => Answer::plain(200, "ok"),
        "/" => Answer::plain(200, "apikeyctl exporter: /metrics, /metrics?target=, /healthz"),
        _ => Answer::plain(404, "only /metrics and /healthz"),
    }
}

fn metrics(url: &Url, open_metrics: bool, targets: &Targets) -> Answer {
    let target = url.query_pairs().find(|(name, _)| name == "target").map(|(_, target)| target);
    let watch = match targets.find(target.as_deref()) {
        Ok(watch) => watch,
        Err(Refused::NoTarget) => {
            let why = "target must be HOST:PORT or redis://HOST:PORT, with no user and no password";
            return Answer::plain(400, why);
        }
        Err(Refused::NotNamed) => {
            return Answer::plain(403, "this exporter was started without that --target");
        }
    };
    match page(watch.scrape(), open_metrics) {
        Ok((page, kind)) => Answer(200, kind, page),
        Err(error) => {
            note(&format!("could not write the page: {error}"));
            Answer::plain(500, "could not write the page")
        }
    }
}

fn accepts_open_metrics(request: &Request) -> bool {
    let mut accept = request.headers().iter().filter(|header| header.field.equiv("Accept"));
    accept.any(|header| header.value.as_str().contains("application/openmetrics-text"))
}
