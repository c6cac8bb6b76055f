// A port that leads to Redis, and can be made to lead nowhere: what one process can't reach others can.

import { once } from "node:events";
import { connect, createServer } from "node:net";

export class Relay {
    #sockets = new Set();
    #isOpen = true;
    #isHolding = false;

    /** `delayMs`: how long it keeps each piece of a reply. */
    static async start(port, delayMs = 0) {
        const relay = new Relay();
        relay.server = createServer((client) => relay.#accept(client, port, delayMs));
        relay.server.listen(0, "127.0.0.1");
        await once(relay.server, "listening");
        relay.url = `redis://127.0.0.1:${relay.server.address().port}`;
        return relay;
    }

    #accept(client, port, delayMs) {
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
                    setTimeout(() => to.write(data), from === server ? delayMs : 0);
                }
            });
        }
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
