use super::application::Application;
use super::page::Page;
use crate::harness::*;

/// Some 100 ms of a script, and more on a machine that is busy.
const SLOW: &str = "local n = 0 for i = 1, 12000000 do n = n + i end return 1";

#[test]
fn who_holds_the_server_is_found_and_shut_out() {
    let server = Server::builder()
        .config("maxmemory 256mb")
        // On a machine that is busy any command may take 10 ms.
        .config("slowlog-log-slower-than 40000")
        .start();
    let mut c = server.client();
    c.fill("apikey:{k}", &[]);
    c.must("ACL SETUSER reporting on >pass ~* +@all");
    let port = server.port;
    let connect = move || -> Option<Client> {
        let mut c = Client::connect(port).ok()?;
        let is_let_in = c.try_cmd(["AUTH", "reporting", "pass"]).ok()? == ok();
        is_let_in.then_some(c)
    };
    let mut reporting = connect();
    let _slow = Application::repeat(move || {
        let said = reporting.as_mut().and_then(|c| c.try_cmd(["EVAL", SLOW, "0"]).ok());
        if said.is_none() {
            // As programs do, it waits a little and connects again.
            std::thread::sleep(std::time::Duration::from_millis(5));
            reporting = connect();
        }
    });
    let mut reader = server.client();
    let _reader = Application::repeat(move || assert_eq!(reader.code("apikey:{k}"), "VALID"));
    let calls = |c: &mut Client, command: &str| {
        let told = c.info("commandstats", &format!("cmdstat_{command}")).unwrap_or_default();
        let calls = told.split([',', '=']).nth(1).and_then(|calls| calls.parse::<u64>().ok());
        calls.unwrap_or(0)
    };
    eventually("it has held the server", || calls(&mut c, "eval") > 1);
    let mut page = Page::open("slow-commands").at(&server);
    page.step(1);
    page.step(2);
    page.step(3);
    page.step(4);
    page.step(5);
    page.end();
    assert!(connect().is_none());
    let before = ["eval", "apikey.validate"].map(|command| calls(&mut c, command));
    eventually("readers go on", || calls(&mut c, "apikey.validate") > before[1] + 1000);
    assert_eq!(calls(&mut c, "eval"), before[0]);
}
