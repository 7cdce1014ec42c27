/** What each key does; in the grid for the tiles that are selected or were clicked last. */
function actionsOf(review) {
  const { grid } = review;
  const actions = review.isBulk
    ? {
        a: () => grid.accept(),
        r: () => grid.decide("reject"),
        s: () => grid.decide("skip"),
        j: () => grid.turn(1),
        k: () => grid.turn(-1),
      }
    : {
        a: () => review.decide("accept"),
        r: () => review.decide("reject"),
        s: () => review.decide("skip"),
        c: () => review.choose(),
        j: () => review.go(review.current + 1),
        k: () => review.go(review.current - 1),
      };
  actions.u = () => review.undo();
  actions.z = () => review.enlarge();
  actions.g = () => review.setBulk(!review.isBulk);
  review.classKeys.forEach((key, label) => {
    if (key) actions[key] = () => review.giveLabel(label);
  });
  return actions;
}

/** Actions of the arrows; they scroll the page unless the list or a tile has the focus. */
function arrowsOf(review, event) {
  if (event.target === byId("list")) {
    return { ArrowDown: () => review.go(review.current + 1), ArrowUp: () => review.go(review.current - 1) };
  }
  if (!event.target.closest?.(".tile")) return {};
  const move = (by) => () => review.grid.move(by, event.shiftKey);
  const columns = review.grid.columns();
  return { ArrowRight: move(1), ArrowLeft: move(-1), ArrowDown: move(columns), ArrowUp: move(-columns) };
}

function onKey(review, event) {
  const typing = event.target.closest?.("input, select, textarea");
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (byId("dialog").open ? event.key !== "z" : !review.isInView()) return;
  const action = { ...actionsOf(review), ...arrowsOf(review, event) }[event.key];
  if (!action) return;
  event.preventDefault();
  action();
}
