/* The table of a run: sorts by a clicked heading, and shows only the rows that the filters let through. */
"use strict";
(() => {
  const body = document.querySelector("tbody");
  const rows = [...body.rows];
  const heads = [...document.querySelectorAll("th[scope=col]")];
  const order = new Intl.Collator(undefined, {numeric: true}).compare;

  function sortBy(column, down) {
    const keyed = rows.map(row => ({row, value: row.cells[column + 1].dataset.value}));
    keyed.sort(({value: a}, {value: b}) => {
      if (a === "" || b === "") return (a === "") - (b === "");  // an empty cell comes last, whichever way
      const difference = isNaN(a) || isNaN(b) ? order(a, b) : a - b;
      return down ? -difference : difference;
    });
    body.append(...keyed.map(({row}) => row));
  }

  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const down = head.ariaSort === "ascending";
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    sortBy(column, down);
  }));

  const filters = document.querySelector("form");
  const count = document.querySelector("output");
  function filter() {
    const {name, kind, tumor} = Object.fromEntries(new FormData(filters));
    const searched = name.trim().toLowerCase();
    const least = Number(tumor);
    let shown = 0;
    for (const row of rows) {
      row.hidden = !(row.cells[1].textContent.toLowerCase().includes(searched) && (!kind || row.dataset.kind === kind)
                     && (least <= 0 || Number(row.dataset.tumor) >= least));
      shown += !row.hidden;
    }
    count.textContent = `${shown} of ${rows.length} shown`;
  }
  filters.addEventListener("input", filter);
  filters.addEventListener("reset", () => setTimeout(filter));  // after the fields are empty
  filters.addEventListener("submit", event => event.preventDefault());
  filter();  // a browser may keep the fields when it comes back
})();
