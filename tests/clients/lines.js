// What the programs here have in common: a call on each line of stdin, its outcome on one of stdout.
const readline = require("node:readline");

const say = (outcome) => console.log(JSON.stringify(outcome));

// Answers each line, {"way": .., "args": [..]}, with what `call` returns or throws; then it ends.
exports.serve = async (version, call) => {
  say({ reply: version });
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { way, args } = JSON.parse(line);
    try {
      say({ reply: await call(way, args) });
    } catch (error) {
      say({ error: error.message });
    }
  }
  process.exit();
};
