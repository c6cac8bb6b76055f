// A PostgreSQL of its own for a test, from the installed packages: it listens on a socket in a temporary directory alone.

import { execFile, spawn } from "node:child_process";
import { chownSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import pg from "pg";
import { endWithUs, eventually } from "../../../clients/node/test/servers.mjs";

export class Postgres {
    static async start() {
        const postgres = new Postgres();
        postgres.dir = mkdtempSync(join(tmpdir(), "apikey-postgres-"));
        const user = otherUser();
        if (user.uid !== undefined) {
            chownSync(postgres.dir, user.uid, user.gid);
        }
        const as = { ...user, cwd: postgres.dir, env: { ...process.env, LC_ALL: "C" } };
        const data = join(postgres.dir, "data");
        const made = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync", "-D", data];
        await promisify(execFile)(join(programs(), "initdb"), made, as);
        // Nobody kills this server or its machine, so that nothing has to be on disk.
        const quick = ["-c", "listen_addresses=", "-c", "fsync=off"];
        const server = ["-D", data, "-k", postgres.dir, ...quick];
        // It ends its children first, but for SIGKILL.
        postgres.child = endWithUs(spawn(join(programs(), "postgres"), server, { ...as, stdio: "ignore" }), "SIGQUIT");
        postgres.ended = new Promise((resolve) => postgres.child.once("exit", resolve));
        postgres.url = `postgres://postgres@localhost/postgres?host=${postgres.dir}`;
        postgres.pool = new pg.Pool({ connectionString: postgres.url });
        postgres.pool.on("error", () => {});
        try {
            await eventually(() => postgres.pool.query("SELECT 1").catch(() => undefined), "PostgreSQL");
        } catch (thrown) {
            await postgres.stop();
            throw thrown;
        }
        return postgres;
    }

    async sql(text, values) {
        return (await this.pool.query(text, values)).rows;
    }

    async stop() {
        await this.pool.end();
        this.child.kill("SIGQUIT");
        await this.ended;
        rmSync(this.dir, { recursive: true, force: true });
    }
}

/** Where the programs are: `APIKEY_POSTGRES_BIN`, or the newest that Debian's packages have installed. */
function programs() {
    const home = "/usr/lib/postgresql";
    const versions = existsSync(home) ? readdirSync(home).sort((a, b) => Number(b) - Number(a)) : [];
    const found = versions.map((version) => join(home, version, "bin")).find((bin) => existsSync(join(bin, "initdb")));
    const bin = process.env.APIKEY_POSTGRES_BIN ?? found;
    if (bin === undefined) {
        throw new Error(
            "this test needs PostgreSQL: apt-get install postgresql, or say in APIKEY_POSTGRES_BIN where it is",
        );
    }
    return bin;
}

/** Whom to run it as where this is root, which it refuses. */
function otherUser() {
    if (process.geteuid() !== 0) {
        return {};
    }
    const users = readFileSync("/etc/passwd", "utf8")
        .split("\n")
        .map((line) => line.split(":"));
    const found = users.find(([name]) => name === "postgres") ?? users.find(([name]) => name === "nobody");
    if (found === undefined) {
        throw new Error("PostgreSQL refuses root, and there is no user postgres or nobody");
    }
    return { uid: Number(found[2]), gid: Number(found[3]) };
}
