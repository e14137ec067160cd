"use strict";
// Tooltips read the table behind each chart, so chart, tooltip and table cannot disagree. All content is set as text.
(function () {
  const tip = document.getElementById("tip");
  let hair = null;

  function hide() {
    tip.hidden = true;
    if (hair) hair.remove();
    hair = null;
  }

  function line(name, value, colour) {
    const row = document.createElement("div");
    const left = document.createElement("span");
    if (colour) {
      const mark = document.createElement("i");
      mark.className = "swatch";
      mark.style.background = getComputedStyle(current).getPropertyValue("--" + colour);
      left.append(mark);
    }
    left.append(name);
    const right = document.createElement("span");
    right.textContent = value;
    row.append(left, right);
    return row;
  }

  let current = null;

  function show(plot, heads, row) {
    const x = Number(row.dataset.x);
    if (current !== plot || !hair) {
      hide();
      hair = document.createElement("div");
      hair.className = "hair";
      plot.append(hair);
    }
    current = plot;
    hair.style.left = 100 * x + "%";
    const cells = Array.from(row.cells);
    const title = document.createElement("strong");
    title.textContent = cells[0].textContent;
    const lines = cells.slice(1).map((cell, k) => line(heads[k + 1].textContent, cell.textContent, heads[k + 1].dataset.colour));
    tip.replaceChildren(title, ...lines);
    tip.hidden = false;
    const box = plot.getBoundingClientRect();
    const wish = box.left + x * box.width;
    const beside = wish + 16 + tip.offsetWidth > document.documentElement.clientWidth ? wish - tip.offsetWidth - 16 : wish + 16;
    tip.style.left = Math.max(4, beside) + window.scrollX + "px";
    const isNarrow = document.documentElement.clientWidth < 560;
    tip.style.top = (isNarrow ? box.bottom + 26 : box.top + 8) + window.scrollY + "px";
  }

  for (const plot of document.querySelectorAll(".plot")) {
    const frame = plot.closest(".chart");
    const rows = frame ? Array.from(frame.querySelectorAll("tr[data-x]")) : [];
    if (!rows.length) continue;
    const heads = Array.from(rows[0].closest("table").querySelectorAll("thead th"));
    const places = rows.map((row) => Number(row.dataset.x));
    let at = -1;

    function nearest(x) {
      let best = 0;
      for (let k = 1; k < places.length; k++) if (Math.abs(places[k] - x) < Math.abs(places[best] - x)) best = k;
      return best;
    }

    function go(k) {
      at = Math.max(0, Math.min(rows.length - 1, k));
      show(plot, heads, rows[at]);
    }

    plot.addEventListener("pointermove", (event) => {
      const box = plot.getBoundingClientRect();
      go(nearest((event.clientX - box.left) / box.width));
    });
    plot.addEventListener("pointerleave", hide);
    plot.addEventListener("blur", hide);
    plot.addEventListener("keydown", (event) => {
      const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity };
      if (event.key === "Escape") return hide();
      if (!(event.key in steps)) return;
      event.preventDefault();
      go(Math.max(-1, at) + steps[event.key]);
    });
  }
})();
