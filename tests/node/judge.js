// The official AsyncAPI parser on a document: its complaints, one a line; exit status 1 if there are any.
const { readFileSync } = require("node:fs");
const { Parser } = require("@asyncapi/parser");

new Parser().parse(readFileSync(process.argv[2], "utf8")).then(({ document, diagnostics }) => {
  const complaints = diagnostics.filter((one) => one.severity <= 1);
  for (const one of complaints) console.log(`${one.path.join(".")}: ${one.message}`);
  if (document) console.log(document.allMessages().all().map((message) => message.name()).sort().join(" "));
  process.exit(!document || complaints.length > 0 ? 1 : 0);
});
