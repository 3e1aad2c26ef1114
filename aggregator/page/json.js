// JSON as written. A parser would turn 1.50 into 1.5 and drop all but one of several members with the same name. The page
// shows what is stored, so these functions split a response into the texts of its parts.

// The end of the string that starts at `at`.
function stringEnd(text, at) {
  for (;;) {
    at = text.indexOf('"', at + 1);
    let slashes = 0;
    while (text[at - 1 - slashes] === "\\") slashes += 1;
    if (slashes % 2 === 0) return at + 1;
  }
}

// The end of the value that starts at `at`.
function valueEnd(text, at) {
  if (text[at] === '"') return stringEnd(text, at);
  const stop = /[\s,:{}[\]"]/g;
  if (text[at] !== "{" && text[at] !== "[") {
    stop.lastIndex = at;
    return stop.exec(text)?.index ?? text.length;
  }
  const mark = /["{}[\]]/g;
  let depth = 0;
  let found;
  mark.lastIndex = at;
  while ((found = mark.exec(text))) {
    if (found[0] === '"') mark.lastIndex = stringEnd(text, found.index);
    else if (found[0] === "{" || found[0] === "[") depth += 1;
    else if ((depth -= 1) === 0) return mark.lastIndex;
  }
  return text.length;
}

function skip(text, at) {
  const other = /[^\s,:]/g;
  other.lastIndex = at;
  return other.exec(text)?.index ?? text.length;
}

// The texts of an array's elements.
export function elements(text) {
  const found = [];
  for (let at = skip(text, 1); at < text.length && text[at] !== "]"; ) {
    const end = valueEnd(text, at);
    found.push(text.slice(at, end));
    at = skip(text, end);
  }
  return found;
}

// The texts of an object's members, by name.
export function members(text) {
  const found = {};
  for (let at = skip(text, 1); at < text.length && text[at] !== "}"; ) {
    const name = valueEnd(text, at);
    const start = skip(text, name);
    const end = valueEnd(text, start);
    found[JSON.parse(text.slice(at, name))] = text.slice(start, end);
    at = skip(text, end);
  }
  return found;
}

// The value of a text that is neither an object nor an array; undefined for an absent member.
export const value = (text) => (text === undefined ? undefined : JSON.parse(text));

// Maximum depth of indentation: a small text can be nested very deeply.
const MAX_INDENT = 20;

// The same JSON with each member and element on its own line, and every token unchanged.
export function layout(text) {
  let out = "";
  let depth = 0;
  const line = () => "\n" + "  ".repeat(Math.min(depth, MAX_INDENT));
  for (let at = 0; at < text.length; ) {
    const c = text[at];
    if (/\s/.test(c)) {
      at += 1;
    } else if (c === "{" || c === "[") {
      const next = skip(text, at + 1);
      if (text[next] === "}" || text[next] === "]") {
        out += c + text[next];
        at = next + 1;
      } else {
        depth += 1;
        out += c + line();
        at += 1;
      }
    } else if (c === "}" || c === "]") {
      depth -= 1;
      out += line() + c;
      at += 1;
    } else if (c === ",") {
      out += "," + line();
      at += 1;
    } else if (c === ":") {
      out += ": ";
      at += 1;
    } else {
      const end = valueEnd(text, at);
      out += text.slice(at, end);
      at = end;
    }
  }
  return out;
}

const ESCAPE = /\\u[dD][89abAB][\da-fA-F]{2}\\u[dD][c-fC-F][\da-fA-F]{2}|\\u[\da-fA-F]{4}|\\./g;
const SEEN = /^(?!\p{Default_Ignorable_Code_Point}|["\\])[\p{L}\p{M}\p{N}\p{P}\p{S}]$/u;

// The same text with escapes such as \u00e4 as the letters that they stand for. All others stay, so that it is still JSON.
export function readable(text) {
  return text.replace(ESCAPE, (escape) => {
    if (escape[1] !== "u") return escape;
    const c = JSON.parse(`"${escape}"`);
    return SEEN.test(c) ? c : escape;
  });
}

// The same text with its strings as they read: escapes such as \ud83d\ude00 and \n are the characters that they stand for.
export function decoded(text) {
  let out = "";
  for (let at = 0; at < text.length; ) {
    const quote = text.indexOf('"', at);
    if (quote < 0) return out + text.slice(at);
    const end = stringEnd(text, quote);
    out += `${text.slice(at, quote)}"${JSON.parse(text.slice(quote, end))}"`;
    at = end;
  }
  return out;
}
