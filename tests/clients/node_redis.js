// node-redis: node_redis.js HOW PORT ..
const { createClient, createCluster } = require("@redis/client");
const { serve } = require("./lines");

const [how, ...ports] = process.argv.slice(2);
const url = (port) => ({ url: `redis://127.0.0.1:${port}` });
// The machine may be busy.
const patient = { commandOptions: { timeout: 60000 }, socket: { connectTimeout: 60000 } };
const reads = ["APIKEY.VALIDATE", "APIKEY.CHECKSCOPE", "APIKEY.GETLIST", "APIKEY.USAGE.GET"];

const main = async () => {
  const single = how.startsWith("single");
  const redis = single
    ? createClient({ ...url(ports[0]), ...patient })
    : createCluster({
        rootNodes: ports.map(url),
        defaults: patient,
        commandOptions: patient.commandOptions,
        useReplicas: how === "replicas",
      });
  redis.on("error", () => {});
  await redis.connect();
  await serve(require("@redis/client/package.json").version, async (way, args) => {
    if (single) return redis.sendCommand(args);
    if (way === "any") return redis.sendCommand(undefined, false, args);
    if (way === "each") {
      const nodes = await Promise.all(redis.masters.map((master) => redis.nodeClient(master)));
      return Promise.all(nodes.map((node) => node.sendCommand(args)));
    }
    const key = args[0] === "APIKEY.MSETVAL" ? args[2] : args[1];
    return redis.sendCommand(key, reads.includes(args[0]), args);
  });
};
main();
