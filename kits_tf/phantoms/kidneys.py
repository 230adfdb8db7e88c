"""Plans the shapes and positions of kidneys, tumors and cysts for each kind of case.

In: a random generator, the Patient and the kind. Out: a Plan of shapes in the patient's frame (mm), which parenchyma.py
draws. Sizes follow radiology textbooks (kidneys are 95 to 125 mm long) and KiTS19 (tumors mostly 20 to 60 mm).
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from kits_tf.phantoms.drawing import Field, Shape, ellipsoid, tube
from kits_tf.phantoms.torso import Patient, psoas

ORDINARY = "ordinary"
SINGLE, HORSESHOE, GIANT, TINY, TWO_TUMORS = "single", "horseshoe", "giant", "tiny", "two_tumors"
HARD_KINDS = (SINGLE, HORSESHOE, GIANT, TINY, TWO_TUMORS)
# Kind of case k: any twelve cases in a row include each hard kind once, any six include two or three of them.
CYCLE = (ORDINARY, TINY, ORDINARY, SINGLE, ORDINARY, GIANT, ORDINARY, HORSESHOE, ORDINARY, ORDINARY, TWO_TUMORS,
         ORDINARY)


@dataclasses.dataclass(frozen=True)
class Tumor:
    """One tumor.

    Attributes:
        shape: its irregular outline.
        centre_mm: (z, y, x).
        radius_mm: mean radius.
        darkness: its mean HU within the phase's range, 0 (darkest) to 1.
        necrosis: share of the radius that is necrotic, from the center; 0 for none.
        spread_hu: variation inside the tumor.
    """

    shape: Shape
    centre_mm: np.ndarray
    radius_mm: float
    darkness: float
    necrosis: float
    spread_hu: float


@dataclasses.dataclass(frozen=True)
class Kidney:
    """One kidney.

    Attributes:
        side: -1 right, 1 left.
        centre_mm: (z, y, x).
        radii_mm: half of its length, depth and width.
        axes: 3x3, rows are its own directions in (z, y, x): to the lower pole, to the back, away from the hilum.
        outline: Shape of the bean, sinus included.
        body: Shape of the part labeled kidney, without the sinus.
        sinus: Shape of the fat with renal pelvis and vessels that opens to the hilum.
    """

    side: int
    centre_mm: np.ndarray
    radii_mm: np.ndarray
    axes: np.ndarray
    outline: Shape
    body: Shape
    sinus: Shape

    def place(self, along: float, back: float, outward: float) -> np.ndarray:
        """Converts a position in units of the kidney's own radii to mm in the patient's frame."""
        return self.centre_mm + (np.array([along, back, outward]) * self.radii_mm) @ self.axes

    def surface(self, along: float, around: float) -> tuple[np.ndarray, np.ndarray]:
        """Returns a point on the surface as (position, outward unit vector).

        Args:
            along: -1 upper pole, 1 lower pole.
            around: angle around the long axis in radians; 0 is opposite the hilum.
        """
        girth = np.sqrt(1 - along**2)
        direction = np.array([along, girth * np.sin(around), girth * np.cos(around)])
        outward = (direction / self.radii_mm) @ self.axes
        return self.place(*direction), outward / np.linalg.norm(outward)


@dataclasses.dataclass(frozen=True)
class Plan:
    """Kidneys and lesions of one patient.

    Attributes:
        kidneys: one or two.
        bridges: Shapes of parenchyma that join two kidneys; empty unless fused.
        tumors: one or more.
        cysts: Shapes; may be empty.
    """

    kidneys: tuple[Kidney, ...]
    bridges: tuple[Shape, ...]
    tumors: tuple[Tumor, ...]
    cysts: tuple[Shape, ...]


def room(patient: Patient, side: int = 0) -> Callable:
    """Returns the level function of the space for kidneys and tumors: inside the wall, beside spine and psoas.

    Args:
        patient: a Patient.
        side: -1 right, 1 left, 0 for both sides (for horseshoe kidneys), which also ignores the psoas.
    """
    muscle = psoas(side) if side else None

    def level(z, y, x):
        spine = 36 - np.hypot((y - 4) * 0.72, x)
        vessels = 17 - np.hypot(y + 26, x * 0.55)
        outside = np.maximum(np.maximum(patient.cavity(z, y, x) + 4, spine), vessels)
        if side:
            outside = np.maximum(np.maximum(outside, 2 - muscle.level(z, y, x)), 3 - side * x)
        return outside

    return level


def plan_case(rng: np.random.Generator, patient: Patient, kind: str) -> Plan:
    """Chooses kidneys, tumors and cysts at random.

    Args:
        rng: NumPy random generator.
        patient: the Patient they must fit into.
        kind: ORDINARY or one of HARD_KINDS.

    Raises:
        ValueError: if the kind is unknown.
    """
    if kind not in (ORDINARY, *HARD_KINDS):
        raise ValueError(f"kind must be {ORDINARY} or one of {', '.join(HARD_KINDS)}, got {kind}")
    size = rng.uniform(0.92, 1.08)
    kidneys = tuple(_kidney(rng, patient, side, size, kind == HORSESHOE) for side in (-1, 1))
    bridges = _bridges(rng, kidneys) if kind == HORSESHOE else ()
    if kind == SINGLE:
        kidneys = (kidneys[rng.integers(2)],)
    tumors = []
    first = kidneys[rng.integers(len(kidneys))]
    if kind == TINY:
        tumors.append(_tumor(rng, patient, first, rng.uniform(7.5, 8.8)))  # 1.7 to 3 ml, like KiTS19's smallest tenth
    elif kind == GIANT:
        tumors.append(_giant(rng, patient, first))
    elif kind == TWO_TUMORS:
        # At opposite poles of one kidney, or one in each kidney.
        second = kidneys[rng.integers(len(kidneys))]
        tumors.append(_tumor(rng, patient, first, rng.uniform(9, 18), pole=-1))
        tumors.append(_tumor(rng, patient, second, rng.uniform(8, 16), pole=1))
    else:
        tumors.append(_tumor(rng, patient, first, _radius(rng)))
    cysts = [_cyst(rng, patient, kidneys[rng.integers(len(kidneys))]) for _ in range(rng.poisson(0.7))]
    return Plan(kidneys, bridges, tuple(tumors), tuple(cysts))


def _radius(rng):
    """Returns the radius of an ordinary tumor in mm; the diameter's median is 38 mm, most are 22 to 60 mm."""
    return float(np.clip(rng.lognormal(np.log(19.0), 0.33), 9.0, 31.0))


def _kidney(rng, patient, side, size, fused):
    narrow = min(1.0, (patient.inner_half_width_mm - 30) / 85)
    radii = np.array([rng.uniform(48, 60), rng.uniform(21, 25), rng.uniform(26, 30)]) * size
    centre = np.array([rng.uniform(2, 14) if side < 0 else rng.uniform(-14, -2), rng.uniform(4, 12),
                       side * rng.uniform(64, 70) * (0.5 + 0.5 * narrow)])
    tilt, forward = rng.uniform(0.14, 0.30), rng.uniform(0.08, 0.22)
    facing = rng.uniform(0.4, 0.85)  # radians by which the hilum turns forward from the midline
    if fused:
        radii[0] *= 0.9
        centre += (15, -8, side * -6)
        tilt, forward, facing = rng.uniform(-0.34, -0.24), rng.uniform(0.3, 0.42), rng.uniform(1.0, 1.3)
    along = np.array([1, -forward, side * tilt])
    along /= np.linalg.norm(along)
    outward = np.array([0, np.sin(facing), side * np.cos(facing)])
    outward -= (outward @ along) * along
    outward /= np.linalg.norm(outward)
    back = np.cross(along, outward) * side
    back *= np.sign(back[1]) or 1
    axes = np.stack([along, back, outward])
    bend = rng.uniform(5, 9)
    reach = np.full(3, radii[0] + 8)
    bumps = Field(rng, centre - reach, centre + reach, 22.0)
    limit = room(patient, 0 if fused else side)
    mean_radius = float(radii[1:].mean())

    def bean(z, y, x):
        offsets = (z - np.float32(centre[0]), y - np.float32(centre[1]), x - np.float32(centre[2]))
        own = [sum(part * np.float32(weight) for part, weight in zip(offsets, row, strict=True)) for row in axes]
        lengthwise = own[0] / np.float32(radii[0])
        bent = own[2] + np.float32(bend) * (lengthwise**2 - 0.3)  # the poles curve to the midline
        total = (np.abs(lengthwise) ** 2.4
                 + (own[1] / np.float32(radii[1])) ** 2 + (bent / np.float32(radii[2])) ** 2)
        return (np.sqrt(total) - 1) * np.float32(mean_radius) + 0.9 * bumps(z, y, x)

    hollow = ellipsoid(centre + (np.array([0, 0, -0.82]) * radii) @ axes,
                       radii * (rng.uniform(0.42, 0.5), rng.uniform(0.34, 0.42), rng.uniform(0.72, 0.84)), axes)
    outline = Shape(tuple(centre - reach), tuple(centre + reach),
                    lambda *at: np.maximum(bean(*at), limit(*at)))
    body = outline.cut(lambda *at: -hollow.level(*at) - 2.2 * bumps(*at))
    return Kidney(side, centre, radii, axes, outline, body, hollow)


def _bridges(rng, kidneys):
    """Returns the isthmus of a horseshoe kidney: from each lower pole to the midline, in front of the great vessels."""
    poles = [kidney.place(0.72, 0.0, 0.1) for kidney in kidneys]
    middle = np.array([np.mean([pole[0] for pole in poles]) + 4, -54.0, 0.0])
    size = rng.uniform(10.5, 13)
    return tuple(tube(pole, middle, size + 6, size) for pole in poles)


def _blob(rng, centre, radii, roughness, limit):
    """Returns an irregular shape: an ellipsoid with bumps at wavelengths of 0.9 and 0.45 times its mean radius."""
    reach = np.asarray(radii) * (1 + 2.5 * roughness) + 1
    mean = float(np.mean(radii))
    coarse = Field(rng, centre - reach, centre + reach, 0.9 * mean)
    fine = Field(rng, centre - reach, centre + reach, max(0.45 * mean, 3.0))
    smooth = ellipsoid(centre, radii)

    def level(*at):
        return np.maximum(smooth.level(*at) + mean * roughness * (0.7 * coarse(*at) + 0.35 * fine(*at)), limit(*at))

    return Shape(tuple(centre - reach), tuple(centre + reach), level)


def _spot(rng, kidney, pole=0):
    """Draws a point on the kidney's surface away from the hilum; returns it as Kidney.surface does.

    `pole` -1 chooses a point near the upper pole, 1 near the lower pole, 0 anywhere in between.
    """
    along = rng.uniform(0.55, 0.8) * pole if pole else rng.uniform(-0.8, 0.8)
    return kidney.surface(along, rng.uniform(-1.9, 1.9))


def _tumor(rng, patient, kidney, radius, pole=0):
    limit = room(patient, kidney.side)
    room_wanted = 1.0 if radius < 9 else 0.6  # times the radius; cutting a small tumor would leave too little
    for _ in range(50):
        position, outward = _spot(rng, kidney, pole)
        # From entirely inside the kidney (small tumors only) to two thirds outside.
        deepest = -1.1 if radius < 15 else -0.5
        centre = position + outward * radius * rng.uniform(deepest, 0.35)
        if limit(*centre) < -room_wanted * radius:
            break
    radii = radius * rng.uniform(0.9, 1.12, 3)
    shape = _blob(rng, centre, radii, 0.10 if radius > 9 else 0.06, limit)
    necrosis = rng.uniform(0.3, 0.6) if radius > 14 and rng.random() < 0.5 else 0.0
    return Tumor(shape, centre, radius, rng.random(), necrosis, rng.uniform(6, 16))


def _giant(rng, patient, kidney):
    """Returns a tumor too large for a 125 mm crop; it extends forward and sideways, where there is space."""
    shift = rng.choice([-1, 1]) * rng.uniform(24, 34), rng.uniform(-46, -38), kidney.side * rng.uniform(2, 10)
    centre = kidney.centre_mm + np.array(shift)
    radii = np.array([rng.uniform(55, 68), rng.uniform(72, 80), rng.uniform(55, 64)])
    shape = _blob(rng, centre, radii, 0.07, room(patient, kidney.side))
    return Tumor(shape, centre, float(radii.mean()), rng.random(), rng.uniform(0.45, 0.65), rng.uniform(10, 18))


def _cyst(rng, patient, kidney):
    radius = float(np.clip(rng.lognormal(np.log(9.0), 0.5), 4.0, 24.0))
    position, outward = _spot(rng, kidney)
    centre = position + outward * radius * rng.uniform(-0.6, 0.3)
    return ellipsoid(centre, (radius, radius, radius)).cut(room(patient, kidney.side))
