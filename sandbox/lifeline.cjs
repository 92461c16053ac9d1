// Loaded before Azurite: ends it when the process that started it ends, however that one ended.
process.stdin.on("end", () => process.exit(0)).resume();
