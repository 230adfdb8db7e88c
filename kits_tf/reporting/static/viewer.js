/* Shows a scan with its labels in NiiVue: three planes and a 3D rendering, with controls, keys and a list to jump to.

Load NiiVue's UMD file (reporting/niivue) and then this file as plain scripts. They need no network of their own.

  const problem = kitsViewer.problem();          // a sentence if this browser cannot show scans, else null
  const viewer = await kitsViewer.open(element, {
    volumes: [                                   // NIfTI files (.nii or .nii.gz)
      {kind: "scan", url: "scan.nii.gz", headers: {Authorization: "Bearer …"}},
      {kind: "labels", base64: "H4sIA…"},        // class ids 0, 1 (kidney), 2 (tumor), with the scan's shape
      {kind: "truth", buffer: anArrayBuffer},    // optional: ground truth to compare with, with the scan's shape
    ],
    grid: {shape: [z, y, x], affine: [[…], …]},  // optional: grid of the findings' voxels and of the slice numbers, axes
                                                 // (z, y, x) from head to feet, front to back, right to left; default:
                                                 // that of the scan, whatever its axis order
    windows: {"nets": [-79, 304]},               // optional: more presets, name and range in HU
    name: "scan",                                // of saved pictures
  });
  viewer.goTo({centre_zyx: [12, 200, 140], slice: 14});   // a finding as in the reports; `slice` replaces the first number
  viewer.findings = [finding, …];                // what the keys N and P step through
  viewer.position();                             // {zyx, mm, hu, label, truth} at the crosshair
  viewer.close();                                // empties the element and frees the graphics memory

`open` rejects with an Error whose message is a sentence for the user. It fills the element (give it a height) with a
tool bar, the picture and a status line, and takes keys while the focus is in it. A jump fires the event "finding" on the
element, with the finding as its `detail`. A voxel takes 13 bytes of graphics memory, so reduce large scans before
(reporting/embedding.py). Under a Content-Security-Policy it needs `img-src data: blob:` and adds neither inline styles
nor inline scripts. `viewer.niivue` is NiiVue's own object. */
"use strict";

const kitsViewer = (() => {
  const CLASSES = ["", "kidney", "tumor"];
  // As in the overlay pictures. The other labels are the ground truth, unless swapped.
  const COLORS = {kidney: "#56b4e9", tumor: "#ff8c1a", otherKidney: "#ffffff", otherTumor: "#fff04d"};
  const OTHER = 4;  // factor of the other labels in the drawing
  const WINDOWS = {"soft tissue": [-160, 240], "bone": [-500, 1300], "lung": [-1350, 150]};
  const BRIGHT_HU = 180;  // the rendering shows bone and contrast medium above this, where the window reaches that far
  const CONVENTION = "radiological convention: the patient's right is at the left of axial and coronal views";
  const VIEWS = {planes: "three planes and 3D", axial: "axial", coronal: "coronal", sagittal: "sagittal", render: "3D"};
  const SLICE_TYPES = {axial: 0, coronal: 1, sagittal: 2, planes: 3, render: 4};  // NiiVue's SLICE_TYPE
  const LAYOUT = [["axial", 0, 0], ["coronal", 0.502, 0], ["sagittal", 0, 0.502], ["render", 0.502, 0.502]].map(
    ([view, left, top]) => ({sliceType: SLICE_TYPES[view], position: [left, top, 0.498, 0.498]}));
  const AXES = {axial: 2, planes: 2, coronal: 1, sagittal: 0};  // axis that the arrow keys move along, of (x, y, z)
  const FILL = 0.35;  // opacity of the labels at first
  const TRANSLUCENT = 0.12;  // opacity of a voxel of kidney in the rendering, if there are tumors
  const LINE_PIXELS = 2;
  const CROSSHAIR_MM = 0.7;
  const MOST_ZOOM = 12;
  const OPTIONS = {  // NiiVue's
    logLevel: "silent", loadingText: "", dragAndDropEnabled: false, invertScrollDirection: true,
    isRadiologicalConvention: true, sagittalNoseLeft: true, isOrientCube: true, showAllOrientationMarkers: true,
    fontColor: [1, 1, 1, 1], fontMinPx: 14, show3Dcrosshair: true, crosshairColor: [0.75, 0.95, 0.45, 0.8],
    crosshairWidth: CROSSHAIR_MM, crosshairWidthUnit: "mm", crosshairGap: 8,
    mouseEventConfig: {leftButton: {primary: 8, withShift: 3}, rightButton: 9, centerButton: 3},  // its DRAG_MODE
  };

  const KEYS = [
    ["↑ ↓", "next slice towards the head or feet (coronal: front or back; sagittal: right or left; 3D: turn)"],
    ["← →", "move the crosshair sideways; 3D: turn"],
    ["PgUp PgDn", "ten slices"],
    ["N P", "next, previous finding"],
    ["+ − 0", "zoom in, out, fit"],
    ["1 – 9", "window presets, in the order of the list"],
    ["M A C S R", "three planes and 3D, axial, coronal, sagittal, rendering"],
    ["L O", "fill of the labels, outlines"],
    ["T", "swap prediction and ground truth"],
    ["X B", "crosshair, bone in 3D"],
    ["I", "save the picture"],
    ["?", "this list"],
  ];
  const MOUSE = [
    ["click or drag", "moves the crosshair; in 3D turns"],
    ["wheel", "slices"],
    ["Ctrl + wheel", "zoom"],
    ["right button", "drag for level (up, down) and width (left, right)"],
    ["Shift + drag", "pan; also with the middle button"],
    ["double click", "enlarges a view, or goes back to all"],
  ];

  // Draws a slice. NiiVue sets the volume and the drawing, whose voxels hold class + OTHER * class of the other labels;
  // `paint` sets the rest. NiiVue searches this text for names: one a declaration, and no comments.
  const rgb = color => `vec3(${[1, 3, 5].map(at => (parseInt(color.slice(at, at + 2), 16) / 255).toFixed(4)).join(", ")})`;
  const SHADER = `#version 300 es
precision highp int;
precision highp float;
uniform highp sampler3D volume;
uniform highp sampler3D drawing;
uniform float fillOpacity;
uniform float linePixels;
uniform int shown;
in vec3 texPos;
out vec4 color;

ivec2 classesAt(vec3 place) {
  if (any(lessThan(place, vec3(0.0))) || any(greaterThanEqual(place, vec3(1.0)))) return ivec2(0);
  int code = int(255.0 * texelFetch(drawing, ivec3(place * vec3(textureSize(drawing, 0))), 0).r + 0.5);
  return ivec2(code % ${OTHER}, code / ${OTHER});
}

void main() {
  vec3 shade = texture(volume, texPos).rgb;
  ivec2 here = classesAt(texPos);
  ivec2 least = here;
  vec3 right = max(linePixels, 1.0) * dFdx(texPos);
  vec3 up = max(linePixels, 1.0) * dFdy(texPos);
  for (int x = -1; x <= 1; x++)
    for (int y = -1; y <= 1; y++)
      least = min(least, classesAt(texPos + (x != 0 && y != 0 ? 0.7071 : 1.0) * (float(x) * right + float(y) * up)));
  bvec4 show = bvec4((shown & 1) != 0, (shown & 2) != 0, (shown & 4) != 0, (shown & 8) != 0);
  if (here.x >= 1 && show.x) shade = mix(shade, ${rgb(COLORS.kidney)}, here.x == 2 && show.y ? 0.0 : fillOpacity);
  if (here.x == 2 && show.y) shade = mix(shade, ${rgb(COLORS.tumor)}, fillOpacity);
  if (linePixels > 0.0) {
    if (here.x >= 1 && least.x == 0 && show.x) shade = ${rgb(COLORS.kidney)};
    if (here.x == 2 && least.x < 2 && show.y) shade = ${rgb(COLORS.tumor)};
    if (mod(gl_FragCoord.x + gl_FragCoord.y, 10.0) < 6.0) {
      if (here.y >= 1 && least.y == 0 && show.z) shade = ${rgb(COLORS.otherKidney)};
      if (here.y == 2 && least.y < 2 && show.w) shade = ${rgb(COLORS.otherTumor)};
    }
  }
  color = vec4(shade, 1.0);
}`;

  const STYLE = `
.kits-viewer { display: flex; flex-direction: column; background: #101214; color: #f2f2f2; font: 14px/1.4 system-ui, sans-serif;
  border-radius: 4px; outline: none; min-height: 20rem; color-scheme: dark; position: relative; }
.kits-viewer:focus-visible { box-shadow: 0 0 0 2px #56b4e9; }
.kits-viewer-tools { display: flex; flex-wrap: wrap; gap: .3rem 1rem; align-items: center; padding: .4rem .6rem; }
.kits-viewer-tools > span { display: inline-flex; gap: .3rem; align-items: center; }
.kits-viewer button, .kits-viewer select { font: inherit; color: inherit; background: #24282d; border: 1px solid #454b52;
  border-radius: 4px; padding: .1rem .5rem; cursor: pointer; }
.kits-viewer button:hover { background: #333941; }
.kits-viewer button[aria-pressed=true] { background: #1d5b80; border-color: #56b4e9; }
.kits-viewer label { display: inline-flex; gap: .3rem; align-items: center; white-space: nowrap; }
.kits-viewer label i { width: 1.2em; border-top: 3px solid; }
.kits-viewer label i.dashed { border-top-style: dashed; }
.kits-viewer input[type=range] { width: 7em; }
.kits-viewer-picture { position: relative; flex: 1; min-height: 0; background: #000; overflow: hidden; }
.kits-viewer-picture canvas { display: block; outline: none; }
.kits-viewer-status { display: flex; justify-content: space-between; gap: 1rem; flex-wrap: wrap; padding: .3rem .6rem;
  color: #c3c9cf; font-variant-numeric: tabular-nums; min-height: 1.4em; }
.kits-viewer dialog { color: #f2f2f2; background: #1a1d21; border: 1px solid #454b52; border-radius: 6px; max-width: 40rem; }
.kits-viewer dialog th { text-align: left; padding: .15rem 1.5rem .15rem 0; white-space: nowrap; font-weight: 600; }
.kits-viewer dialog::backdrop { background: rgb(0 0 0 / 50%); }`;
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(STYLE);

  function problem() {
    if (typeof niivue === "undefined") return "The viewer, NiiVue, is missing: its file must be in the folder of this page.";
    const canvas = document.createElement("canvas");
    const gl = canvas.getContext("webgl2");
    if (!gl) return "This browser has no WebGL 2, which the viewer needs.";
    gl.getExtension("WEBGL_lose_context")?.loseContext();
    return null;
  }

  function make(tag, properties, ...children) {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  }

  const levelAndWidth = (low, high) => `L ${Math.round((low + high) / 2)}, W ${Math.round(high - low)}`;

  function helpDialog() {
    const table = rows => make("table", {}, ...rows.map(([keys, text]) =>
      make("tr", {}, make("th", {textContent: keys}), make("td", {textContent: text}))));
    const close = make("button", {textContent: "close", autofocus: true});
    return make("dialog", {}, make("h3", {textContent: "Keys"}), table(KEYS), make("h3", {textContent: "Mouse"}),
                table(MOUSE), make("form", {method: "dialog"}, close));
  }

  async function bytesOf(volume) {
    if (volume.buffer) return volume.buffer;
    if (volume.base64) return Uint8Array.from(atob(volume.base64), letter => letter.charCodeAt(0)).buffer;
    const answer = await fetch(volume.url, {headers: volume.headers});
    if (!answer.ok) throw new Error(`${volume.url} could not be loaded (${answer.status} ${answer.statusText}).`);
    return answer.arrayBuffer();
  }

  async function imageOf(volume) {
    const buffer = await bytesOf(volume);
    const gzip = new Uint8Array(buffer, 0, 2);
    const name = `${volume.kind}.nii${gzip[0] === 31 && gzip[1] === 139 ? ".gz" : ""}`;
    try {
      // With a range NiiVue needs no statistics of the voxels.
      return await niivue.NVImage.loadFromUrl({url: buffer, name, cal_min: 0, cal_max: 2, colorbarVisible: false});
    } catch (error) {
      throw new Error(`The ${volume.kind} could not be read as NIfTI (${error.message ?? error}).`);
    }
  }

  // Multiplies a 4 x 4 matrix, its last row 0 0 0 1, with a place.
  const apply = (affine, place) => [0, 1, 2].map(
    row => affine[row][0] * place[0] + affine[row][1] * place[1] + affine[row][2] * place[2] + affine[row][3]);

  function inverse(affine) {
    const [[a, b, c, x], [d, e, f, y], [g, h, i, z]] = affine;
    const determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g);
    const turned = [[e * i - f * h, c * h - b * i, b * f - c * e], [f * g - d * i, a * i - c * g, c * d - a * f],
                    [d * h - e * g, b * g - a * h, a * e - b * d]].map(row => row.map(value => value / determinant));
    return turned.map(row => [...row, -(row[0] * x + row[1] * y + row[2] * z)]);
  }

  // The grid of an image in the axes of the findings: (z, y, x), each in the direction opposite to NiiVue's R, A, S.
  function gridOf(image) {
    const [, x, y, z] = image.dimsRAS;
    const ras = [0, 1, 2].map(row => Array.from(image.matRAS.slice(4 * row, 4 * row + 4)));
    const last = apply(ras, [x - 1, y - 1, z - 1]);
    return {shape: [z, y, x], affine: [0, 1, 2].map(row => [-ras[row][2], -ras[row][1], -ras[row][0], last[row]])};
  }

  async function open(container, {volumes, grid, windows = {}, name = "scan", findings = []}) {
    const trouble = problem();
    if (trouble) throw new Error(trouble);
    const nv = new niivue.Niivue(OPTIONS);  // before the volumes are read: it sets what NiiVue writes to the console
    const [scan, labels, truth] = await Promise.all(["scan", "labels", "truth"].map(kind => {
      const volume = volumes.find(one => one.kind === kind);
      return volume ? imageOf(volume) : null;
    }));
    if (!scan) throw new Error("There is no scan to show.");
    for (const [what, image] of [["labels", labels], ["truth", truth]])
      if (image && [1, 2, 3].some(axis => image.hdr.dims[axis] !== scan.hdr.dims[axis]))
        throw new Error(`The ${what} do not have the scan's shape.`);
    if (!document.adoptedStyleSheets.includes(sheet)) document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
    const viewer = new Viewer(container, {niivue: nv, scan, labels, truth, grid: grid ?? gridOf(scan), name, findings,
                                          windows: {...WINDOWS, ...windows}});
    try {
      await viewer.start();
    } catch (error) {
      viewer.close();
      throw error;
    }
    return viewer;
  }

  class Viewer {
    constructor(container, {niivue, scan, labels, truth, grid, windows, name, findings}) {
      Object.assign(this, {container, niivue, scan, labels, truth, grid, windows, name, findings});
      this.toVoxel = inverse(grid.affine);
      this.finding = -1;  // index in `findings`
      this.view = "planes";
      this.fill = FILL;
      this.outlines = true;
      this.bones = true;  // and contrast medium, in the rendering
      this.swapped = false;  // the truth filled and the prediction dashed
      this.hidden = new Set();  // of the keys of COLORS
    }

    async start() {
      this.build();
      const nv = this.niivue;
      nv.onLocationChange = location => this.report(location);
      nv.onIntensityChange = () => this.showWindow();
      await nv.attachToCanvas(this.canvas, true);
      const longest = Math.max(...this.scan.hdr.dims.slice(1, 4));
      if (longest > nv.uiData.max3D)
        throw new Error(`The scan has ${longest} voxels along an axis; this graphics card shows ${nv.uiData.max3D}.`);
      // NiiVue processes all voxels after each of these calls, and draws: once, at the end, is enough.
      nv.updateGLVolume = nv.drawScene = () => {};
      nv.addVolume(this.scan);
      if (this.labels) this.addRendering();
      nv.drawOpacity = 0;  // keeps the drawing out of the rendering
      nv.setCustomSliceShader(SHADER);
      nv.setRenderAzimuthElevation(200, 10);
      this.setView("planes");
      this.setWindow(Object.keys(this.windows)[0]);
      if (this.labels) this.colorRendering();
      delete nv.updateGLVolume;
      nv.updateGLVolume();
      this.showLabels();
      if (this.findings.length) this.step(1);
      else nv.createOnLocationChange();
      delete nv.drawScene;
      this.paint();
    }

    close() {
      this.listening.abort();
      this.niivue.cleanup();
      this.canvas.getContext("webgl2")?.getExtension("WEBGL_lose_context")?.loseContext();
      this.container.replaceChildren();
      this.container.classList.remove("kits-viewer");
      this.container.removeAttribute("tabindex");
    }

    // --- the tool bar -------------------------------------------------------------------------------------------------

    build() {
      const button = (text, title, act) => make("button", {type: "button", textContent: text, title, onclick: act});
      this.viewButtons = Object.fromEntries(Object.entries(VIEWS).map(([view, text]) =>
        [view, button(text, "", () => this.setView(view))]));
      this.windowChoice = make("select", {title: "window, by level and width in HU",
                                          onchange: event => this.setWindow(event.target.value)});
      for (const [name, [low, high]] of Object.entries(this.windows))
        this.windowChoice.append(make("option", {value: name, textContent: `${name} (${levelAndWidth(low, high)})`}));
      this.windowChoice.append(this.byHand = make("option", {value: "", textContent: "by hand", disabled: true}));
      this.tools = make("div", {className: "kits-viewer-tools"},
        make("span", {}, ...Object.values(this.viewButtons)),
        make("label", {}, "window", this.windowChoice));
      if (this.labels) {
        const slider = make("input", {type: "range", min: 0, max: 1, step: 0.05, value: this.fill,
                                      oninput: event => this.setFill(Number(event.target.value))});
        const outlines = make("input", {type: "checkbox", checked: true,
                                        onchange: event => this.setOutlines(event.target.checked)});
        Object.assign(this, {fillSlider: slider, outlinesBox: outlines});
        this.legend = make("span", {className: "kits-viewer-legend"});
        this.tools.append(make("label", {}, "fill", slider), make("label", {}, outlines, "outlines"), this.legend);
        if (this.truth) this.tools.append(
          button("swap prediction and truth", "which one is filled and rendered in 3D", () => this.swap()));
      }
      this.bonesBox = make("input", {type: "checkbox", checked: true,
                                     onchange: event => this.setBones(event.target.checked)});
      this.tools.append(make("label", {title: `above ${BRIGHT_HU} HU`}, this.bonesBox, "bone in 3D"), make("span", {},
        button("−", "zoom out", () => this.zoom(1 / 1.25)), button("+", "zoom in", () => this.zoom(1.25)),
        button("fit", "whole scan", () => this.fit()), button("save picture", "as PNG", () => this.save()),
        button("keys (?)", "what keys and mouse do", () => this.help.showModal())));
      this.canvas = make("canvas", {});
      this.picture = make("div", {className: "kits-viewer-picture"}, this.canvas);
      this.place = make("span", {className: "kits-viewer-place"});
      this.status = make("div", {className: "kits-viewer-status"}, this.place, make("span", {textContent: CONVENTION}));
      this.help = helpDialog();
      this.container.classList.add("kits-viewer");
      this.container.tabIndex = 0;
      this.container.replaceChildren(this.tools, this.picture, this.status, this.help);
      this.listen();
    }

    // Takes keys and mouse before NiiVue does, whose keys are others.
    listen() {
      this.listening = new AbortController();
      const first = {capture: true, passive: false, signal: this.listening.signal};
      this.container.addEventListener("keydown", event => this.key(event), first);
      this.container.addEventListener("keyup", event => event.stopPropagation(), first);
      this.picture.addEventListener("wheel", event => this.wheel(event), first);
      this.picture.addEventListener("dblclick", event => this.enlarge(event), first);
      this.picture.addEventListener("mousedown", () => this.container.focus({preventScroll: true}), first);
      this.canvas.addEventListener("webglcontextlost", () => {
        this.place.textContent = "The graphics card has taken its memory back: reload this page.";
      }, first);
    }

    buildLegend() {
      const [first, other] = this.swapped ? ["true ", "predicted "] : ["", "true "];
      const entries = [["kidney", `${first}kidney`], ["tumor", `${first}tumor`]];
      if (this.truth) entries.push(["otherKidney", `${other}kidney`], ["otherTumor", `${other}tumor`]);
      this.legend.replaceChildren(...entries.map(([key, text]) => {
        const line = make("i", {className: key.startsWith("other") ? "dashed" : ""});
        line.style.color = COLORS[key];
        return make("label", {}, make("input", {type: "checkbox", checked: !this.hidden.has(key), onchange: event => {
          this.hidden[event.target.checked ? "delete" : "add"](key);
          this.colorRendering();
          this.paint();
        }}), line, text);
      }));
    }

    // --- what is shown ------------------------------------------------------------------------------------------------

    setView(view) {
      this.view = view;
      for (const [name, button] of Object.entries(this.viewButtons)) button.ariaPressed = String(name === view);
      this.niivue.setSliceType(SLICE_TYPES[view]);
      if (view === "planes") this.niivue.setCustomLayout(LAYOUT);
      else this.niivue.clearCustomLayout();
    }

    setWindow(name) {
      this.showRange(...this.windows[name]);
    }

    setBones(on) {
      this.bones = this.bonesBox.checked = on;
      this.showRange(this.scan.cal_min, this.scan.cal_max);
    }

    showRange(low, high) {
      this.scan.colormap = this.rampFor(low, high);  // first, since it sets a range too
      Object.assign(this.scan, {cal_min: low, cal_max: high});
      this.niivue.updateGLVolume();
      this.showWindow();
    }

    // A gray ramp for the slices, transparent in the rendering below BRIGHT_HU.
    rampFor(low, high) {
      const opaque = Math.round(Math.min(Math.max(255 * (BRIGHT_HU - low) / (high - low), 1), 254));
      const key = `kits_gray_${opaque}_${this.bones}`;
      const grays = [0, opaque, 255];
      this.niivue.addColormap(key, {R: grays, G: grays, B: grays, A: [0, 0, this.bones ? 160 : 0], I: grays});
      return key;
    }

    showWindow() {
      const {cal_min: low, cal_max: high} = this.scan;
      const preset = Object.entries(this.windows).find(([, range]) => range[0] === low && range[1] === high);
      this.byHand.textContent = `by hand (${levelAndWidth(low, high)})`;
      this.windowChoice.value = preset ? preset[0] : "";
    }

    setFill(fill) {
      this.fill = fill;
      this.fillSlider.value = fill;
      this.paint();
    }

    setOutlines(on) {
      this.outlines = this.outlinesBox.checked = on;
      this.paint();
    }

    swap() {
      this.swapped = !this.swapped;
      this.showLabels();
      this.colorRendering();
      this.paint();
    }

    // Gives NiiVue the labels: both in one drawing, for SHADER, and the first of them to the rendering.
    showLabels() {
      if (!this.labels) return;
      const [first, other] = this.swapped ? [this.truth, this.labels] : [this.labels, this.truth];
      const codes = new Uint8Array(first.img);
      if (other) for (let index = 0; index < codes.length; index++) codes[index] += OTHER * other.img[index];
      const drawing = first.clone();
      drawing.img = codes;
      this.niivue.loadDrawing(drawing);
      this.rendered.kidney.img = this.rendered.tumor.img = first.img;
      this.buildLegend();
    }

    // The rendering has a volume for each class, because a kidney that hides a tumor must be translucent.
    addRendering() {
      this.rendered = {kidney: this.labels.clone(), tumor: this.labels.clone()};
      for (const [name, image] of Object.entries(this.rendered)) {
        const [red, green, blue] = [1, 3, 5].map(at => parseInt(COLORS[name].slice(at, at + 2), 16));
        image.setColormapLabel({R: [0, red, red], G: [0, green, green], B: [0, blue, blue],
                                A: [0, name === "kidney" ? 255 : 0, 255], I: [0, 1, 2], labels: CLASSES});
        this.niivue.addVolume(image);
      }
    }

    colorRendering() {
      const {kidney, tumor} = this.rendered;
      const tumors = !this.hidden.has("tumor") && tumor.img.includes(2);
      tumor.opacity = tumors ? 1 : 0;
      kidney.opacity = this.hidden.has("kidney") ? 0 : tumors ? TRANSLUCENT : 1;
      this.niivue.updateGLVolume();
    }

    // Sets SHADER's own values and draws.
    paint() {
      const {gl, customSliceShader: {uniforms}} = this.niivue;
      this.niivue.customSliceShader.use(gl);
      gl.uniform1f(uniforms.fillOpacity, this.fill);
      gl.uniform1f(uniforms.linePixels, this.outlines ? LINE_PIXELS * window.devicePixelRatio : 0);
      const keys = ["kidney", "tumor", "otherKidney", "otherTumor"];
      gl.uniform1i(uniforms.shown, keys.reduce((bits, key, bit) => bits | (this.hidden.has(key) ? 0 : 1 << bit), 0));
      this.niivue.drawScene();
    }

    // --- where it is --------------------------------------------------------------------------------------------------

    goTo(finding) {
      const [z, y, x] = finding.centre_zyx;
      this.goToMillimeters(apply(this.grid.affine, [finding.slice ?? z, y, x]));
      const index = this.findings.indexOf(finding);
      if (index >= 0) this.finding = index;
      this.container.dispatchEvent(new CustomEvent("finding", {detail: finding}));
    }

    goToMillimeters(mm) {
      const nv = this.niivue;
      nv.scene.crosshairPos = nv.mm2frac(mm, 0, true);
      this.center(mm, nv.scene.pan2Dxyzmm[3]);
      nv.createOnLocationChange();
    }

    step(by) {
      if (!this.findings.length) return;
      this.finding = (this.finding + by + this.findings.length) % this.findings.length;
      this.goTo(this.findings[this.finding]);
    }

    // Scrolls the slices of the plane that is shown; up is towards the head, the front or the patient's right.
    scroll(slices) {
      const step = [0, 0, 0];
      step[AXES[this.view]] = slices;
      this.niivue.moveCrosshairInVox(...step);
    }

    sideways(by) {
      if (this.view === "sagittal") this.niivue.moveCrosshairInVox(0, -by, 0);  // the front is at the left
      else this.niivue.moveCrosshairInVox(-by, 0, 0);  // the patient's right is at the left
    }

    turn(azimuth, elevation) {
      const {renderAzimuth, renderElevation} = this.niivue.scene;
      this.niivue.setRenderAzimuthElevation(renderAzimuth + azimuth, renderElevation + elevation);
    }

    // Enlarges the slices around a place in mm, or the rendering if that alone is shown.
    zoom(factor, mm = this.mm) {
      const nv = this.niivue;
      if (this.view === "render") {
        nv.setScale(Math.min(Math.max(nv.scene.volScaleMultiplier * factor, 0.5), 4));
        return;
      }
      const [x, y, z, before] = nv.scene.pan2Dxyzmm;
      const after = Math.min(Math.max(before * factor, 1), MOST_ZOOM);
      if (after === 1) this.fit();
      else this.placeSlices([x, y, z].map((pan, axis) => pan + (before - after) * mm[axis]), after);
    }

    center(mm, zoom) {
      if (zoom === 1) return this.niivue.drawScene();
      const [low, high] = this.niivue.sceneExtentsMinMax(true);
      this.placeSlices([0, 1, 2].map(axis => (low[axis] + high[axis]) / 2 - zoom * mm[axis]), zoom);
    }

    fit() {
      this.niivue.setScale(1);
      this.placeSlices([0, 0, 0], 1);
    }

    // A place p in mm is drawn where zoom * p + shift is without zoom.
    placeSlices(shift, zoom) {
      const {opts} = this.niivue;
      if (opts.crosshairWidth) opts.crosshairWidth = CROSSHAIR_MM / zoom;
      this.niivue.setPan2Dxyzmm([...shift, zoom]);
    }

    // Takes NiiVue's report on the crosshair.
    report({mm}) {
      this.mm = Array.from(mm.slice(0, 3));
      const {zyx, hu, label, truth} = this.position();
      const {shape} = this.grid;
      const slices = ["axial", "coronal", "sagittal"].map((plane, axis) =>
        `${plane} ${Math.min(Math.max(Math.round(zyx[axis]), 0), shape[axis] - 1) + 1} of ${shape[axis]}`);
      const found = [label, truth && `truth: ${truth}`].filter(Boolean).join(", ");
      this.place.textContent = `slice ${slices.join(", ")} · ${this.mm.map(value => value.toFixed(1)).join(", ")} mm · ` +
        `${Math.round(hu)} HU${found ? ` · ${found}` : ""}`;
    }

    // Returns the crosshair's voxel on the grid, its place in mm (RAS+), and the values there.
    position() {
      const [hu, label, truth] = [this.scan, this.labels, this.truth].map(
        image => image ? image.getValue(...image.mm2vox(this.mm), 0) : 0);
      return {zyx: apply(this.toVoxel, this.mm), mm: this.mm, hu, label: CLASSES[label], truth: CLASSES[truth]};
    }

    save() {
      const slice = Math.round(this.position().zyx[0]) + 1;
      this.niivue.saveScene(`${this.name}_slice_${slice}.png`);
    }

    // --- keys and mouse -----------------------------------------------------------------------------------------------

    key(event) {
      if (event.ctrlKey || event.metaKey || event.altKey || this.help.open) return;
      if (event.target.matches("input[type=range], select") && /^(Arrow|Page|Home|End)/.test(event.key)) return;
      const act = this.actOf(event.key);
      event.stopPropagation();
      if (!act) return;
      event.preventDefault();
      act();
    }

    actOf(key) {
      const solid = this.view === "render";
      const acts = {
        ArrowUp: () => solid ? this.turn(0, 5) : this.scroll(1),
        ArrowDown: () => solid ? this.turn(0, -5) : this.scroll(-1),
        ArrowLeft: () => solid ? this.turn(5, 0) : this.sideways(-1),
        ArrowRight: () => solid ? this.turn(-5, 0) : this.sideways(1),
        PageUp: () => this.scroll(10), PageDown: () => this.scroll(-10),
        n: () => this.step(1), p: () => this.step(-1),
        "+": () => this.zoom(1.25), "=": () => this.zoom(1.25), "-": () => this.zoom(1 / 1.25), "0": () => this.fit(),
        m: () => this.setView("planes"), a: () => this.setView("axial"), c: () => this.setView("coronal"),
        s: () => this.setView("sagittal"), r: () => this.setView("render"),
        b: () => this.setBones(!this.bones), i: () => this.save(), "?": () => this.help.showModal(),
        x: () => this.niivue.setCrosshairWidth(this.niivue.opts.crosshairWidth ? 0 : CROSSHAIR_MM),
      };
      if (this.labels) Object.assign(acts, {
        l: () => this.setFill(this.fill ? 0 : FILL), o: () => this.setOutlines(!this.outlines),
        ...this.truth && {t: () => this.swap()},
      });
      const preset = Object.keys(this.windows)[Number(key) - 1];
      return preset ? () => this.setWindow(preset) : acts[key.length === 1 ? key.toLowerCase() : key];
    }

    // Zooms with Ctrl, which is also what two fingers do on a touch pad; without it NiiVue scrolls.
    wheel(event) {
      if (!event.ctrlKey) return;
      event.preventDefault();
      event.stopPropagation();
      this.zoom(event.deltaY < 0 ? 1.1 : 1 / 1.1, this.under(event)?.mm);
    }

    enlarge(event) {
      event.stopPropagation();
      const tile = this.under(event);
      if (this.view !== "planes") this.setView("planes");
      else if (tile) this.setView(Object.keys(SLICE_TYPES).find(view => SLICE_TYPES[view] === tile.type));
    }

    // Returns the view under the mouse, {type, mm}, mm only in slices; null outside the views.
    under(event) {
      const nv = this.niivue;
      const box = this.canvas.getBoundingClientRect();
      const [x, y] = [event.clientX - box.left, event.clientY - box.top].map(at => at * nv.uiData.dpr);
      const index = nv.tileIndex(x, y);
      if (index < 0) return null;
      const frac = nv.screenXY2TextureFrac(x, y, index);
      const mm = frac[0] < 0 ? undefined : Array.from(nv.frac2mm(frac, 0, true).slice(0, 3));
      return {type: nv.screenSlices[index].axCorSag, mm};
    }
  }

  return {open, problem};
})();
