/**
 * Spans and counters by OpenTelemetry's API. Nothing of it is imported: a tracer and a meter are given, and what is used of
 * them is in the types here. No key, prefix or secret is ever in them.
 */

import type { Result } from "./results.js";

/** `trace.getTracer("redis-apikey")`. */
export interface Tracer {
    /** Begins a span under the one that is active. */
    startSpan(name: string): Span;
}

/** What is used of a span. */
export interface Span {
    /** Adds what is known of it. */
    setAttribute(name: string, value: string): unknown;
    /** Says that it failed. */
    setStatus(status: { code: number }): unknown;
    /** Ends it now. */
    end(): void;
}

/** `metrics.getMeter("redis-apikey")`. */
export interface Meter {
    /** Makes a counter, or returns the one of this name. */
    createCounter(name: string, options?: { description?: string; unit?: string }): Counter;
}

/** What is used of a counter. */
export interface Counter {
    /** Counts. */
    add(value: number, attributes?: Record<string, string>): void;
}

/** Where to tell what happens. */
export interface TelemetryOptions {
    /** Spans `apikey.verify`, with `apikey.code` and `apikey.source`. */
    readonly tracer?: Tracer;
    /** Counters `apikey.verifications`, by code and source; `apikey.cache.reads`, by region and source; `apikey.errors`, by the class of the error. */
    readonly meter?: Meter;
}

/** SpanStatusCode.ERROR. */
const ERROR = 2;

export class Telemetry {
    readonly #tracer: Tracer | undefined;
    readonly #verifications: Counter | undefined;
    readonly #reads: Counter | undefined;
    readonly #errors: Counter | undefined;

    constructor({ tracer, meter }: TelemetryOptions) {
        this.#tracer = tracer;
        this.#verifications = meter?.createCounter("apikey.verifications", { description: "Keys that were verified" });
        this.#reads = meter?.createCounter("apikey.cache.reads", { description: "Values of regions that were read" });
        this.#errors = meter?.createCounter("apikey.errors", {
            description: "What went wrong and was answered all the same",
        });
    }

    /** Runs a verification within a span. */
    async verify(run: () => Promise<Result>): Promise<Result> {
        const span = this.#tracer?.startSpan("apikey.verify");
        const say = (code: string, source: string): void => {
            span?.setAttribute("apikey.code", code);
            span?.setAttribute("apikey.source", source);
            this.#verifications?.add(1, { "apikey.code": code, "apikey.source": source });
        };
        try {
            const result = await run();
            if (result.kind === "unavailable") {
                say("UNAVAILABLE", "none");
                span?.setStatus({ code: ERROR });
            } else {
                say(result.kind === "valid" ? "VALID" : result.code, result.source ?? "none");
            }
            return result;
        } catch (thrown) {
            say(thrown instanceof Error ? thrown.name : "Error", "none");
            span?.setStatus({ code: ERROR });
            throw thrown;
        } finally {
            span?.end();
        }
    }

    /** A value of a region was read. */
    read(region: string, source: string): void {
        this.#reads?.add(1, { "apikey.region": region, "apikey.source": source });
    }

    error(error: Error): void {
        this.#errors?.add(1, { "error.type": error.name });
    }
}
