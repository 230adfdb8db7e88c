/* The page of one case: opens the viewer, and jumps to a finding that is clicked. Without a viewer the overlay picture
is shown, and a line says why. */
"use strict";
(async () => {
  const {picture, ...scan} = JSON.parse(document.getElementById("data").textContent);
  const container = document.getElementById("viewer");
  const buttons = [...document.querySelectorAll("button[data-finding]")];

  function fail(why) {
    document.getElementById("problem").textContent = `${why} The findings below are complete.`;
    document.getElementById("problem").hidden = false;
    document.getElementById("reduction").hidden = true;
    container.replaceChildren();
    container.className = "";
    buttons.forEach(button => { button.disabled = true; });
    if (picture) document.getElementById("picture").append(
      Object.assign(document.createElement("img"), {src: picture, alt: "Planes through the finding, with outlines"}));
  }

  const problem = kitsViewer.problem();
  if (problem) return fail(problem);
  container.className = "open";
  container.addEventListener("finding", event => {
    const index = scan.findings.indexOf(event.detail);
    buttons.forEach(button => { button.ariaCurrent = String(Number(button.dataset.finding) === index); });
  });
  buttons.forEach(button => { button.disabled = true; });
  try {
    const viewer = await kitsViewer.open(container, scan);
    buttons.forEach(button => {
      button.disabled = false;
      button.addEventListener("click", () => {
        viewer.goTo(scan.findings[button.dataset.finding]);
        container.focus();
      });
    });
    window.viewer = viewer;  // for the browser's console
    container.focus({preventScroll: true});
  } catch (error) {
    fail(error.message);
  }
})();
