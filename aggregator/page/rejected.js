// Rejected arrivals: why each was rejected, and sending it again.

import { $, ask, element, foreign, say, time, unseenIn } from "./dom.js";
import { value } from "./json.js";
import { List } from "./kept.js";

const HINT = "Correct the body if it is wrong, and send it again: it then counts as a new arrival.";

// Far more than fits into a row.
const MAX_DETAIL = 300;

const shortened = (text) => (text.length > MAX_DETAIL ? `${text.slice(0, MAX_DETAIL)} …` : text);

function row(one) {
  const id = value(one.id);
  const body = value(one.body);
  const marked = element("span", { class: "quiet" });
  const sent = element("p", { class: "note" });
  const status = element("p", { class: "note", role: "status" });
  const label = element("label", { for: `body-${id}` }, body === undefined ? "Body in base64" : "Body as received");
  const text = element("textarea", { id: `body-${id}`, spellcheck: "false", readonly: body === undefined });
  text.value = body ?? value(one.body_base64);
  const hidden = unseenIn(text.value);
  const warning = element("p", { class: "note" }, hidden ? `Contains characters that are not visible: ${hidden}.` : "");
  // A text area turns CRLF into LF, so its text is sent only if it was changed.
  const before = text.value;
  const send = element("button", { type: "button" }, "Send again");
  send.addEventListener("click", async () => {
    send.disabled = true;
    const isChanged = text.value !== before;
    if (isChanged && text.value.trim() === "") {
      say(status, "The body is empty. Reload the page to restore the body as received.");
      send.disabled = false;
      return;
    }
    try {
      await ask(`rejected/${id}/requeue`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: isChanged ? text.value : "",
      });
      say(status, isChanged ? "Sent with your changes. It counts as a new arrival." : "Sent again unchanged. It counts as a new arrival.");
      rejected.changed();
    } catch (error) {
      say(status, `Not sent: ${error.message}`);
    }
    send.disabled = false;
  });
  const details = element(
    "details",
    {},
    element(
      "summary",
      {},
      time(value(one.processed_at)),
      foreign(value(one.reason), { class: "reason" }),
      foreign(shortened(value(one.detail)), { class: "detail" }),
      foreign(value(one.subject), { class: "quiet" }),
      marked,
    ),
    element(
      "div",
      {},
      element("p", { class: "why" }, foreign(value(one.detail))),
      element("p", { class: "note" }, "Received as ", foreign(value(one.subject)), `. ${HINT}`),
      sent,
      label,
      text,
      warning,
      send,
      status,
    ),
  );
  const requeued = (at) => {
    if (!at || marked.firstChild) return;
    marked.append("sent again");
    sent.append("Sent again at ", time(at), ".");
  };
  return { item: element("li", {}, details), requeued };
}

export const rejected = new List("rejected", $("rejected-rows"), row, "None: every arrival could be stored.");
