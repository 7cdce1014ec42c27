/** Fills a group with a button for each class that has a key; classes without one are in the list only. */
function fillClasses(group, review) {
  const buttons = review.data.classes.flatMap((name, label) => {
    if (!review.classKeys[label]) return [];
    const button = element("button", "", `${name} `);
    button.type = "button";
    button.append(element("kbd", "", review.classKeys[label]));
    button.addEventListener("click", () => review.giveLabel(label));
    return [button];
  });
  group.replaceChildren(...buttons);
}

/** The buttons of the current row say which label they give. */
function fillButtons(rows, entry) {
  const { classes, given, purified } = rows.data;
  const words = (verb, label, key) => [`${verb} ${shortened(classes[label])} `, element("kbd", "", key)];
  const changed = rows.isChanged(entry);
  byId("accept").replaceChildren(...words(changed ? "Accept" : "Keep", purified[entry], "a"));
  byId("reject").replaceChildren(...words("Reject, keep", given[entry], "r"));
  // Of a kept label both would be the same.
  byId("reject").hidden = !changed;
}

function shortened(name) {
  return name.length > 24 ? `${name.slice(0, 23)}…` : name;
}
