// Narrows the cases down. Without it every case is still there, in order, to be opened by hand.
(() => {
  "use strict";
  const form = document.getElementById("filter");
  if (!form) return;
  const text = document.getElementById("filter-text");
  const category = document.getElementById("filter-category");
  const boxes = [...form.querySelectorAll("input[type=checkbox]")];
  const count = document.getElementById("filter-count");
  const none = document.getElementById("filter-none");
  const groups = [...document.querySelectorAll(".group")].map((element) => ({
    element,
    anchor: element.getAttribute("aria-labelledby"),
    cases: [...element.querySelectorAll(".case")].map((details) => ({
      details,
      marks: details.dataset.marks.split(" "),
      words: null, // read when first searched: thousands of cases are megabytes of text
    })),
  }));
  const total = groups.reduce((sum, group) => sum + group.cases.length, 0);

  function fits(entry, needle, marks) {
    if (!marks.every((mark) => entry.marks.includes(mark))) return false;
    if (!needle) return true;
    entry.words ??= entry.details.textContent.toLowerCase();
    return entry.words.includes(needle);
  }

  function narrow() {
    const needle = text.value.trim().toLowerCase();
    const marks = boxes.filter((box) => box.checked).map((box) => box.value);
    let shown = 0;
    for (const group of groups) {
      const wanted = !category.value || category.value === group.anchor;
      let here = 0;
      for (const entry of group.cases) {
        const fit = wanted && fits(entry, needle, marks);
        entry.details.hidden = !fit;
        here += fit;
      }
      group.element.hidden = here === 0;
      shown += here;
    }
    count.value = `${shown.toLocaleString("en")} of ${total.toLocaleString("en")} cases`;
    none.hidden = shown > 0;
  }

  function setOpen(open) {
    for (const group of groups)
      for (const { details } of group.cases) if (!open || !details.hidden) details.open = open;
  }

  // A link to a case opens it, whatever the filter says.
  function follow() {
    const body = document.getElementById(location.hash.slice(1));
    const details = body && body.closest(".case");
    if (!details) return;
    if (details.hidden) {
      form.reset();
      narrow();
    }
    details.open = true;
    details.scrollIntoView();
  }

  let waiting = 0;
  form.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(narrow, 150);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("open-all").addEventListener("click", () => setOpen(true));
  document.getElementById("close-all").addEventListener("click", () => setOpen(false));
  addEventListener("hashchange", follow);
  form.hidden = false;
  form.reset();
  narrow();
  follow();
})();
