// Letters that do something else on the page.
const COMMANDS = "argsucjkz";

/**
 * The key of each class: digits, then letters; "" for classes beyond.
 *
 * A class whose name is one digit or letter keeps it, as far as it is free.
 */
function keysOfClasses(classes) {
  const letters = Array.from("bdefhilmnopqtvwxy").filter((letter) => !COMMANDS.includes(letter));
  const free = [..."1234567890", ...letters];
  const keys = classes.map((name) => {
    const place = free.indexOf(name.toLowerCase());
    return place < 0 ? "" : free.splice(place, 1)[0];
  });
  return keys.map((key) => key || (free.shift() ?? ""));
}
