/** What an answer to a presented key is kept under in this process ({@link L1}). */

import { hash } from "node:crypto";

/** All that an answer is to, with a digest of what was presented: that itself is kept nowhere. */
export function questionOf(presented: string, scopes: readonly string[], address: string | undefined): string {
    const digest = hash("sha256", presented, "base64");
    if (address === undefined && scopes.length <= 1) {
        return scopes.length === 0 ? digest : `${digest}:${scopes[0]}`;
    }
    return `${digest}[${JSON.stringify([address ?? null, ...scopes])}`;
}
