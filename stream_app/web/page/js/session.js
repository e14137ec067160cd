// Where tokens are needed, the page hands its token in once; it is kept in a cookie that no script can read.

import { byId, element, show } from "./dom.js";

/** Ask for a token in place of the page, until one is accepted. */
export function askForToken(onAccepted) {
  if (document.getElementById("token")) {
    return;
  }
  const input = element("input", { id: "token", type: "password", autocomplete: "current-password", required: true });
  const problem = element("p", { class: "note", role: "alert" });
  const form = element("form", {
    class: "card token",
    on: {
      submit: async (event) => {
        event.preventDefault();
        const response = await fetch("v1/session", { method: "POST", body: input.value }).catch(() => null);
        if (response?.ok) {
          onAccepted();
        } else {
          problem.textContent = response ? "This token is not known." : "The server does not answer.";
        }
      },
    },
  }, element("label", { for: "token" }, element("b", { text: "This server needs a token" })),
  element("p", { class: "note", text: "Whoever runs it can make one: stream-app web --new-token read" }),
  element("p", { class: "list-end" }, input, element("button", { type: "submit", text: "Go on" })), problem);
  byId("trouble").hidden = true;
  show(byId("main"), form);
  input.focus();
}
