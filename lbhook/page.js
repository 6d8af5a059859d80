
"use strict";
const form = document.querySelector("form");
if (form) {
  const [search, wrong] = form.querySelectorAll("input");
  const said = form.querySelector("output");
  const cards = [...document.querySelectorAll("section.card")].map((card) => ({
    card,
    rows: [...card.querySelectorAll("tbody tr")].map((row) => ({
      row,
      bad: row.classList.contains("bad") || card.classList.contains("bad"),
      text: `${card.querySelector("h3").textContent} ${row.textContent}`.toLowerCase(),
    })),
  }));
  const all = cards.reduce((sum, { rows }) => sum + rows.length, 0);
  const look = () => {
    const words = search.value.toLowerCase().split(/\s+/);
    let found = 0;
    for (const { card, rows } of cards) {
      let here = 0;
      for (const { row, bad, text } of rows) {
        row.hidden = !((bad || !wrong.checked) && words.every((word) => text.includes(word)));
        here += !row.hidden;
      }
      card.hidden = !here;
      found += here;
    }
    said.value = `${found} of ${all} rules`;
  };
  form.addEventListener("input", look);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  look();
}
