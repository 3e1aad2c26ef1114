// Rejected arrivals: why each was rejected, and sending it again.

import { $, ask, element, foreign, say, time, unseenIn } from "./dom.js";
import { addressOf, following } from "./address.js";
import { value } from "./json.js";
import { List } from "./kept.js";

// The reasons in words, by the names that the API has for them.
const REASONS = {
  empty: "Empty body",
  not_json: "Not JSON",
  not_events: "Not events",
  too_many: "Too many events",
  invalid_event: "Invalid event",
  wrong_subject: "Wrong subject",
  fingerprint_collision: "Fingerprint collision",
};

const HINT = "Correct the body if it is wrong, and send it again: it then counts as a new arrival.";

// Far more than fits into a row.
const MAX_DETAIL = 300;

const shortened = (text) => (text.length > MAX_DETAIL ? `${text.slice(0, MAX_DETAIL)} …` : text);

function row(one) {
  const id = value(one.id);
  const reason = value(one.reason);
  const words = REASONS[reason] ?? reason;
  const body = value(one.body);
  const marked = element("span", { class: "quiet" });
  const sent = element("p", { class: "note" });
  const status = element("p", { class: "note", role: "status" });
  const place = element("p", { class: "note" });
  const label = element("label", { for: `body-${id}` }, body === undefined ? "Body in base64" : "Body as received");
  const text = element("textarea", { id: `body-${id}`, spellcheck: "false", readonly: body === undefined });
  text.value = body ?? value(one.body_base64);
  const hidden = unseenIn(text.value);
  const warning = element("p", { class: "note" }, hidden ? `Contains characters that are not visible: ${hidden}.` : "");
  // A text area turns CRLF into LF, so its text is sent only if it was changed.
  const before = text.value;
  text.addEventListener("input", () => say(label, text.value === before ? "Body as received" : "Body, edited"));
  const send = element("button", { type: "button" }, "Send again");
  // In the lowest row the outcome would be below the edge of the list.
  const reveal = () => (place.firstChild ? place : status).scrollIntoView({ block: "nearest" });
  const fail = (why) => {
    status.classList.add("problem");
    say(status, why);
    reveal();
  };
  send.addEventListener("click", async () => {
    send.disabled = true;
    const isChanged = text.value !== before;
    place.replaceChildren();
    if (isChanged && text.value.trim() === "") {
      fail("The body is empty. Reload the page to restore the body as received.");
      send.disabled = false;
      return;
    }
    try {
      await ask(`rejected/${id}/requeue`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: isChanged ? text.value : "",
      });
      status.classList.remove("problem");
      say(status, isChanged ? "Sent with your changes. It counts as a new arrival." : "Sent again unchanged. It counts as a new arrival.");
      showPlace(place, text.value);
      reveal();
      rejected.changed();
    } catch (error) {
      fail(`Not sent: ${error.message}`);
    }
    send.disabled = false;
  });
  const details = element(
    "details",
    {},
    element(
      "summary",
      {},
      element(
        "span",
        { class: "line" },
        time(value(one.processed_at)),
        element("span", { class: "reason", title: reason }, `${words}:`),
        foreign(value(one.subject), { class: "quiet" }),
        marked,
      ),
      foreign(shortened(value(one.detail)), { class: "detail" }),
    ),
    element(
      "div",
      {},
      element("p", { class: "why" }, `${words}: `, foreign(value(one.detail))),
      element("p", { class: "note" }, "Received as ", foreign(value(one.subject)), ". Reason in the API: ", element("code", {}, reason), `. ${HINT}`),
      sent,
      label,
      text,
      warning,
      send,
      status,
      place,
    ),
  );
  const item = element("li", {}, details);
  const requeued = (at) => {
    if (!at || marked.firstChild) return;
    item.classList.add("sent");
    marked.append("sent again");
    sent.append("Sent again at ", time(at), ".");
    // This line is above the outcome.
    if (status.firstChild) reveal();
  };
  return { item, requeued };
}

// Where the event of a body that was sent is shown, if the body is one event.
function showPlace(place, body) {
  const event = eventOf(body);
  if (event) place.append(element("a", { href: addressOf({ event }), click: following({ event }) }, "Show the event"));
}

// Its topic and id; null if there are several, or none.
function eventOf(body) {
  try {
    const parsed = JSON.parse(body);
    const [event, ...others] = Array.isArray(parsed) ? parsed : [parsed];
    const { topic, event_id: id } = event;
    return others.length === 0 && typeof topic === "string" && typeof id === "string" ? [topic, id] : null;
  } catch {
    return null;
  }
}

export const rejected = new List("rejected", $("rejected-rows"), row, "None: every arrival could be stored.");
