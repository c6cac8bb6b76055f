// ioredis: ioredis.js HOW PORT ..
const Redis = require("ioredis");
const { serve } = require("./lines");

const [how, ...ports] = process.argv.slice(2);

// What ioredis does not know of a command it does not ask the server: so it is told.
const teach = async (redis) => {
  const known = require("@ioredis/commands/built/commands.json");
  for (const [name, arity, flags, keyStart, keyStop, step] of await redis.call("COMMAND")) {
    if (name.startsWith("apikey.")) known[name] = { arity, flags, keyStart, keyStop, step };
  }
};

const main = async () => {
  let redis;
  if (how === "single") {
    redis = new Redis(ports[0]);
  } else if (how === "single-once") {
    redis = new Redis(ports[0], { maxRetriesPerRequest: 0 });
  } else if (how === "single-unanswered") {
    redis = new Redis(ports[0], { autoResendUnfulfilledCommands: false });
  } else {
    // The machine may be busy.
    const options = { slotsRefreshTimeout: 60000 };
    if (how === "cluster-once") options.retryDelayOnFailover = 0;
    if (how.startsWith("replicas")) options.scaleReads = "slave";
    if (how.startsWith("prefix")) options.keyPrefix = "p:";
    redis = new Redis.Cluster(ports.map((port) => ({ host: "127.0.0.1", port })), options);
    if (how.endsWith("taught")) await teach(redis);
  }
  redis.on("error", () => {});
  await serve(require("ioredis/package.json").version, (way, args) =>
    way === "each"
      ? Promise.all(redis.nodes("master").map((node) => node.call(...args)))
      : redis.call(...args),
  );
};
main();
