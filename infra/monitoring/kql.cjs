// Reads KQL as Azure does: parses each query and binds its names to the tables it is given.
//
// stdin:  {"tables": {"traces": "timestamp: datetime, message: string"}, "queries": {"failed": "traces | ..."}}
// stdout: {"failed": {"columns": ["code"], "found": [{"code": "KS142", "message": "The name …", "at": 17}]}}
//
// Microsoft's own language service does it (npm: @kusto/language-service-next). Its files are scripts for a browser:
// they are evaluated in the global scope, in this order.
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const vm = require("node:vm");

const folder = path.dirname(require.resolve("@kusto/language-service-next"));
for (const name of ["bridge.min.js", "Kusto.Language.Bridge.min.js"]) {
  vm.runInThisContext(fs.readFileSync(path.join(folder, name), "utf8"), { filename: name });
}
const { GlobalState, KustoCode, Symbols } = globalThis.Kusto.Language;

const { tables, queries } = JSON.parse(fs.readFileSync(0, "utf8"));
const symbols = Object.entries(tables).map(([name, columns]) => {
  return Symbols.TableSymbol.From(`(${columns})`).WithName(name);
});
const database = new Symbols.DatabaseSymbol.$ctor1("logs", symbols);
const globals = GlobalState.Default.WithDatabase(database);

function list(items) {
  return Array.from({ length: items ? items.Count : 0 }, (_, index) => items.getItem(index));
}

const answer = {};
for (const [name, text] of Object.entries(queries)) {
  const read = KustoCode.ParseAndAnalyze(text, globals);
  answer[name] = {
    columns: list(read.ResultType?.Columns).map((column) => column.Name),
    found: list(read.GetDiagnostics()).map((each) => {
      return { code: each.Code, message: each.Message, at: each.Start };
    }),
  };
}
process.stdout.write(JSON.stringify(answer));
