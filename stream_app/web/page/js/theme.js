// Light, dark, or as the system says; the choice is kept in this browser.

import { setText } from "./dom.js";

const KEY = "theme";
const THEMES = ["system", "light", "dark"];

/** Give a button the choice of the theme. */
export function startTheme(button) {
  let theme = read();
  const apply = () => {
    if (theme === "system") {
      delete document.documentElement.dataset.theme;
    } else {
      document.documentElement.dataset.theme = theme;
    }
    setText(button, `Theme: ${theme}`);
  };
  button.addEventListener("click", () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    write(theme);
    apply();
  });
  apply();
}

// A browser may forbid storage: the choice then holds until the page is left.
function read() {
  try {
    const kept = localStorage.getItem(KEY);
    return THEMES.includes(kept) ? kept : "system";
  } catch {
    return "system";
  }
}

function write(theme) {
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // Nothing to do: the theme is shown all the same.
  }
}
