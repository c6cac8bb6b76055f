// PostgreSQL with the schema, Redis with the module, and processes of the service between them.

import { execFile, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { endWithUs, Server } from "../../../clients/node/test/servers.mjs";
import { Postgres } from "./postgres.mjs";

const main = fileURLToPath(new URL("../dist/main.js", import.meta.url));
const issue = fileURLToPath(new URL("../dist/issue.js", import.meta.url));
const schema = readFileSync(new URL("../schema.sql", import.meta.url), "utf8");

export class Stage {
    #processes = [];

    static async start() {
        const stage = new Stage();
        try {
            stage.redis = await Server.start();
            stage.postgres = await Postgres.start();
            await stage.postgres.sql(schema);
            stage.redisUrl = `redis://127.0.0.1:${stage.redis.port}`;
            const made = await promisify(execFile)(process.execPath, [issue, "admin", "keys:manage"], {
                env: stage.environment(),
            });
            stage.admin = made.stdout.trim();
        } catch (thrown) {
            await stage.stop();
            throw thrown;
        }
        return stage;
    }

    /** A busy machine is not what is tested here: so much time for Redis. */
    environment(settings = {}) {
        return {
            PATH: process.env.PATH,
            DATABASE_URL: this.postgres.url,
            REDIS_URL: this.redisUrl,
            PORT: "0",
            REDIS_TIMEOUT_MS: "5000",
            CHANGE_TIMEOUT_MS: "5000",
            DRAIN_EVERY_MS: "50",
            TELL_EVERY_MS: "50",
            ...settings,
        };
    }

    /** Starts a process of the service, and returns when it listens. */
    async run(settings) {
        const child = spawn(process.execPath, [main], {
            env: this.environment(settings),
            stdio: ["ignore", "pipe", "inherit"],
        });
        const service = new Running(child, this.admin);
        this.#processes.push(service);
        await service.listens;
        return service;
    }

    async stop() {
        await Promise.all(this.#processes.map((service) => service.kill()));
        await this.redis?.stop();
        await this.postgres?.stop();
    }
}

class Running {
    log = [];

    constructor(child, admin) {
        this.child = endWithUs(child, "SIGKILL");
        this.admin = admin;
        this.ended = new Promise((resolve) => child.once("exit", (code) => resolve(code)));
        this.listens = new Promise((resolve, reject) => {
            createInterface({ input: child.stdout }).on("line", (line) => {
                this.log.push(line);
                const address = /Server listening at (http:[^"]*)/.exec(line);
                if (address !== null) {
                    this.url = address[1];
                    resolve();
                }
            });
            this.ended.then((code) => reject(new Error(`the service ended (${code}): ${this.log.join("\n")}`)));
        });
    }

    /** A request, with the key of the one who manages keys where none is said. A body that is a text goes as it is. */
    async ask(method, path, { key = this.admin, body } = {}) {
        const headers = { ...(key === null ? {} : { authorization: `Bearer ${key}` }) };
        if (body !== undefined) {
            headers["content-type"] = "application/json";
        }
        const sent = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
        const response = await fetch(`${this.url}${path}`, { method, headers, body: sent });
        const text = await response.text();
        const cache = response.headers.get("x-cache-status");
        return { status: response.status, cache, text, body: text === "" ? undefined : JSON.parse(text) };
    }

    /** Issues a key, and returns what is shown of it. */
    async issue(fields = {}) {
        const body = { user_id: "42", scopes: ["usage:read"], ...fields };
        return (await this.ask("POST", "/keys", { body })).body;
    }

    async me(key, path = "/me") {
        const { status, cache, body } = await this.ask("GET", path, { key });
        return [status, status === 200 ? cache : (body.error?.code ?? body)];
    }

    /** As an operator ends it; returns the exit status. */
    async end() {
        this.child.kill("SIGTERM");
        return this.ended;
    }

    /** As a crash does. */
    async kill() {
        this.child.kill("SIGKILL");
        await this.ended;
    }
}
