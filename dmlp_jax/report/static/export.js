/** decisions.csv as `dmlp-purify --apply` reads it, in the order of the list. */
function decisionsTable(data, decisions) {
  // Names of rows outlast a table that is sorted anew.
  const named = data.names ? "id," : "";
  const lines = [`${named}index,given_label,predicted_label,decision,confidence,label,run,picked`];
  // Some of the random rows are no random sample: the reviewer chose them.
  const sampled = new Set(decisions.decidedAtRandom(data) === data.random.length ? data.random : []);
  data.index.forEach((row, entry) => {
    const decision = decisions.get(row);
    if (!decision) return;
    const fields = [
      ...(data.names ? [data.names[entry]] : []),
      row,
      data.classes[data.given[entry]],
      data.classes[data.purified[entry]],
      decision.kind,
      (data.confidence[entry] / 10000).toFixed(4),
      decision.label === null ? "" : data.classes[decision.label],
      data.run,
      sampled.has(entry) ? "random" : "suspicious",
    ];
    lines.push(fields.map(quoted).join(","));
  });
  return lines.join("\n") + "\n";
}

/** A field of a comma-separated table (RFC 4180). */
function quoted(value) {
  const text = String(value);
  return /[",\r\n]/.test(text) || text.trim() !== text ? `"${text.replaceAll('"', '""')}"` : text;
}

function download(name, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

/** Copies the text of a node; where the browser forbids that, selects it for the reader to copy. */
async function copyText(node, button) {
  try {
    await navigator.clipboard.writeText(node.textContent);
    button.textContent = "Copied";
  } catch {
    window.getSelection().selectAllChildren(node);
    button.textContent = "Selected: copy it";
  }
}
