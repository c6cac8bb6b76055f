// Real servers for tests: each has a free port, a directory that is temporary, and the module.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, connect as dial } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Cluster, Redis } from "ioredis";
import { createClient, createCluster } from "redis";

const binary = process.env.APIKEY_SERVER_BIN ?? "redis-server";
const module =
    process.env.APIKEY_MODULE ?? fileURLToPath(new URL("../../../target/debug/libapikey.so", import.meta.url));

const children = new Map();
process.once("exit", () => {
    for (const [child, signal] of children) {
        child.kill(signal);
    }
});
// A run that takes too long is ended so.
for (const signal of ["SIGTERM", "SIGINT"]) {
    process.once(signal, () => process.exit(1));
}

/** A child that ends with this process, however that ends but by SIGKILL. */
export function endWithUs(child, signal) {
    children.set(child, signal);
    child.once("exit", () => children.delete(child));
    return child;
}

/** Waits until `holds` says something true, and returns it. */
export async function eventually(holds, what = "the condition", ms = 20_000) {
    const until = Date.now() + ms;
    for (;;) {
        const value = await holds();
        if (value) {
            return value;
        }
        if (Date.now() > until) {
            throw new Error(`${what} did not come true within ${ms} ms`);
        }
        await pause(10);
    }
}

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** A port that is free, and the one 10,000 above it with it. */
export async function freePort() {
    for (;;) {
        const port = await new Promise((resolve, reject) => {
            const server = createServer();
            server.on("error", reject);
            server.listen(0, "127.0.0.1", () => {
                const taken = server.address().port;
                server.close(() => resolve(taken));
            });
        });
        if (port < 55_000) {
            return port;
        }
    }
}

export class Server {
    static async start({ settings = [], config = [], port } = {}) {
        const server = new Server();
        server.port = port ?? (await freePort());
        server.dir = mkdtempSync(join(tmpdir(), "apikey-node-"));
        server.args = ["--port", String(server.port), "--bind", "127.0.0.1", "--dir", server.dir, "--save", ""];
        server.args.push("--databases", "2", ...config, "--loadmodule", module, ...settings);
        await server.run();
        return server;
    }

    async run() {
        this.child = endWithUs(spawn(binary, this.args, { stdio: "ignore" }), "SIGKILL");
        this.ended = new Promise((resolve) => this.child.once("exit", resolve));
        this.admin = new Redis({ port: this.port, protocol: 2, retryStrategy: () => 20, maxRetriesPerRequest: null });
        this.admin.on("error", () => {});
        await this.admin.ping();
    }

    /** Kills it; `run` starts it again at the same port. */
    async kill() {
        this.admin.disconnect();
        this.child.kill("SIGCONT");
        this.child.kill("SIGKILL");
        await this.ended;
    }

    async stop() {
        await this.kill();
        rmSync(this.dir, { recursive: true, force: true });
    }

    freeze() {
        this.child.kill("SIGSTOP");
    }

    thaw() {
        this.child.kill("SIGCONT");
    }
}

/** A proxy. `hang`: connections of before and those that are made then say nothing any more. `cutOnce`: the next reply is lost with its connection. */
export async function startProxy(port) {
    const sockets = new Set();
    const proxy = { received: "", hangs: false, cutsNext: false };
    const server = createServer((inbound) => {
        const outbound = dial(port, "127.0.0.1");
        inbound.hangs = proxy.hangs;
        sockets.add(inbound);
        for (const socket of [inbound, outbound]) {
            socket.on("error", () => {});
            socket.on("close", () => {
                sockets.delete(inbound);
                inbound.destroy();
                outbound.destroy();
            });
        }
        inbound.on("data", (data) => {
            proxy.received += data.toString();
            outbound.write(data);
        });
        outbound.on("data", (data) => {
            if (proxy.cutsNext) {
                proxy.cutsNext = false;
                inbound.destroy();
            } else if (!inbound.hangs) {
                inbound.write(data);
            }
        });
    });
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    proxy.port = server.address().port;
    proxy.hang = () => {
        proxy.hangs = true;
        for (const socket of sockets) {
            socket.hangs = true;
        }
    };
    proxy.count = (command) => proxy.received.split(command).length - 1;
    proxy.end = () => {
        server.close();
        for (const socket of sockets) {
            socket.destroy();
        }
    };
    return proxy;
}

/** Three primaries that own all slots. */
export async function startCluster(settings = []) {
    const config = ["--cluster-enabled", "yes", "--cluster-node-timeout", "5000"];
    const nodes = await Promise.all([0, 1, 2].map(() => Server.start({ config, settings })));
    const share = Math.ceil(16384 / nodes.length);
    for (const [number, node] of nodes.entries()) {
        const last = Math.min((number + 1) * share, 16384) - 1;
        await node.admin.call("CLUSTER", ["ADDSLOTSRANGE", String(number * share), String(last)]);
        await node.admin.call("CLUSTER", ["MEET", "127.0.0.1", String(nodes[0].port)]);
    }
    for (const node of nodes) {
        await eventually(async () => {
            const info = await node.admin.call("CLUSTER", ["INFO"]);
            return info.includes("cluster_state:ok") && info.includes("cluster_known_nodes:3");
        }, "the cluster");
    }
    return nodes;
}

/** The clients that are tested. */
export const CLIENTS = [
    ["ioredis", 2],
    ["ioredis", 3],
    ["node-redis", 2],
    ["node-redis", 3],
];

/** A client for these ports; `end` is for when it is no longer wanted. */
export async function clientFor(kind, protocol, ports, cluster = false) {
    const addresses = ports.map((port) => ({ host: "127.0.0.1", port }));
    const silent = (client) => client.on("error", () => {});
    if (kind === "ioredis") {
        const options = { protocol, lazyConnect: true };
        const client = silent(
            cluster
                ? new Cluster(addresses, { lazyConnect: true, redisOptions: options })
                : new Redis({ ...addresses[0], ...options }),
        );
        return { client, end: () => client.disconnect() };
    }
    if (cluster) {
        const client = silent(createCluster({ rootNodes: addresses.map((socket) => ({ socket })), RESP: protocol }));
        await client.connect();
        return { client, end: () => client.destroy() };
    }
    return { client: createClient({ RESP: protocol, socket: addresses[0] }), end: () => {} };
}
