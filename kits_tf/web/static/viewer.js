/* Shows a scan with its labels in NiiVue. */
"use strict";

const kitsViewer = {
  async open(element, {volumes, findings = []}) {
    const canvas = document.createElement("canvas");
    element.replaceChildren(canvas);
    const nv = new niivue.Niivue({logLevel: "silent", dragAndDropEnabled: false, isRadiologicalConvention: true,
                                  multiplanarShowRender: 1});
    await nv.attachToCanvas(canvas, true);
    for (const {kind, url, headers} of volumes) {
      const answer = await fetch(url, {headers});
      if (!answer.ok) throw new Error(`${url} could not be loaded (${answer.status}).`);
      nv.addVolume(await niivue.NVImage.loadFromUrl({url: await answer.arrayBuffer(), name: `${kind}.nii.gz`,
                                                     colormap: "gray", opacity: kind === "scan" ? 1 : 0.4}));
    }
    nv.volumes[0].cal_min = -160;
    nv.volumes[0].cal_max = 240;
    nv.volumes[1].setColormapLabel({R: [0, 86, 255], G: [0, 180, 140], B: [0, 233, 26], A: [0, 255, 255],
                                    I: [0, 1, 2], labels: ["", "kidney", "tumor"]});
    nv.updateGLVolume();
    nv.setSliceType(nv.sliceTypeMultiplanar);
    return {
      niivue: nv,
      goTo({centre_zyx: [z, y, x], slice}) {
        const [, nx, ny, nz] = nv.volumes[0].dimsRAS;
        nv.scene.crosshairPos = nv.vox2frac([nx - 1 - x, ny - 1 - y, nz - 1 - (slice ?? z)]);
        nv.drawScene();
      },
      close() {
        nv.gl.getExtension("WEBGL_lose_context")?.loseContext();
        element.replaceChildren();
      },
    };
  },
};
