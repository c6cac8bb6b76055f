// A port that leads to Redis, and can be made to lead nowhere: what one process can't reach others can.

import { once } from "node:events";
import { connect, createServer } from "node:net";

export class Relay {
    #sockets = new Set();
    #isOpen = true;
    #isHolding = false;
    #asked = "";
    #command = "nothing";
    #times = 0;
    #replies = [];

    static async start(port) {
        const relay = new Relay();
        relay.server = createServer((client) => relay.#accept(client, port));
        relay.server.listen(0, "127.0.0.1");
        await once(relay.server, "listening");
        relay.url = `redis://127.0.0.1:${relay.server.address().port}`;
        return relay;
    }

    #accept(client, port) {
        if (!this.#isOpen) {
            client.destroy();
            return;
        }
        const server = connect(port, "127.0.0.1");
        for (const [from, to] of [
            [client, server],
            [server, client],
        ]) {
            this.#sockets.add(from);
            from.on("error", () => {});
            from.on("close", () => {
                this.#sockets.delete(from);
                to.destroy();
            });
            from.on("data", (data) => {
                // What it holds goes nowhere, also later.
                if (!this.#isHolding) {
                    this.#pass(data, to, from === client);
                }
            });
        }
    }

    #pass(data, to, isAsking) {
        if (isAsking) {
            this.#asked += data.toString("latin1");
            to.write(data);
        } else {
            this.#replies.push(() => to.write(data));
        }
        const asked = this.#asked.split(this.#command).length - 1;
        if (asked === 0 || asked >= this.#times) {
            for (const write of this.#replies.splice(0)) {
                write();
            }
        }
    }

    /** From the first of these commands on no reply is let through until there are so many. */
    gather(command, times) {
        this.#asked = "";
        this.#command = command;
        this.#times = times;
    }

    /** Ends all connections, and each new one. */
    refuse() {
        this.#isOpen = false;
        this.#cut();
    }

    /** Takes what comes, and lets nothing through. */
    hold() {
        this.#isHolding = true;
    }

    mend() {
        this.#isOpen = true;
        this.#isHolding = false;
        this.#cut();
    }

    #cut() {
        for (const socket of this.#sockets) {
            socket.destroy();
        }
    }

    stop() {
        this.server.close();
        this.refuse();
    }
}
