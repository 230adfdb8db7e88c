"""Sizes of one patient's body and cavities, in mm, in the patient's frame.

z runs to the feet, y to the back, x to the patient's left; zero is the middle of the first lumbar disc, between the
kidneys. Heights are those of an adult of 170 cm; `stretch` scales them.
"""

import dataclasses
import typing

import numpy as np

LUMBAR_MM, THORACIC_MM, CERVICAL_MM = 35.0, 23.5, 16.0  # distance between vertebrae
NECK_MM = -305.0  # upper end of the chest
SACRUM_MM = 142.0
HIP_MM = 238.0
CROTCH_MM = 310.0


@dataclasses.dataclass(frozen=True)
class Patient:
    """Sizes of one body.

    Attributes:
        male: prostate if true; breasts and mostly a uterus if false.
        half_width_mm, front_mm, back_mm: size of the cavity inside the abdominal wall, from the vertebral body's
            middle.
        fat_mm: mean thickness of the fat under the abdomen's skin.
        wall_mm: thickness of the abdominal wall's muscle at the side.
        fitness: size of muscles, 1 is average.
        inner_fat_hu: HU of the fat between the organs; closer to water in some lean patients, in whom fat and
            mesentery look alike.
        packed: 0 to 1, how tightly bowel fills the cavity.
        perirenal_mm: thickness of the fat around the kidneys.
        dome_mm: z of the top of the right diaphragm.
        stretch: factor of all heights.
        roundness: exponent of the outline; 2 is an ellipse.
        arms: "up", "down" or "none" (outside the image).
    """

    male: bool
    half_width_mm: float
    front_mm: float
    back_mm: float
    fat_mm: float
    wall_mm: float
    fitness: float
    inner_fat_hu: float
    packed: float
    perirenal_mm: float
    dome_mm: float
    stretch: float
    roundness: float
    arms: str

    @classmethod
    def random(cls, rng: np.random.Generator) -> typing.Self:
        """Draws a random patient, emaciated to very obese; subcutaneous and visceral fat are correlated."""
        stout = rng.beta(1.4, 2.0)
        visceral = float(np.clip(stout + rng.normal(0, 0.22), 0, 1))
        male = bool(rng.random() < 0.5)
        fitness = rng.uniform(0.65, 1.25)
        lean = visceral < 0.25
        return cls(
            male=male, half_width_mm=105 + 45 * visceral + rng.uniform(-6, 8),
            front_mm=64 + 80 * visceral + rng.uniform(-6, 10), back_mm=rng.uniform(44, 52) + 6 * visceral,
            fat_mm=float(3 + 40 * max(stout - 0.12, 0) ** 1.3 * (1.0 if male else 1.25) + rng.uniform(0, 5)),
            wall_mm=rng.uniform(7, 14) * fitness, fitness=fitness,
            inner_fat_hu=rng.uniform(-95, -30) if lean and rng.random() < 0.5 else rng.uniform(-115, -88),
            packed=float(np.clip(1.1 - visceral + rng.normal(0, 0.2), 0.1, 1)),
            perirenal_mm=float(np.clip(12 * visceral**1.3 + rng.normal(0.5, 2.5), 0.3, 22)),
            dome_mm=rng.uniform(-135, -100), stretch=rng.uniform(0.88, 1.1), roundness=rng.uniform(2.0, 2.7),
            arms=str(rng.choice(["up", "down", "none"], p=[0.55, 0.2, 0.25])))

    def outline(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns half width, front and back of the space inside the muscle wall, in mm, at heights z."""
        marks = np.array([-420, -330, -300, -270, -200, -120, -40, 40, 100, 160, 220, 245, 290, 340, 500], np.float32)
        chest = 118 + 0.25 * (self.half_width_mm - 105)
        half_width = self.half_width_mm
        widths = [42, 46, 70, 104, chest + 6, chest + 10, half_width + 4, half_width - 3, max(half_width - 2, 116), 120,
                  104, 74, 52, 50, 50]
        deep = 0.35 * self.front_mm
        fronts = [38, 40, 50, 72, 98 + 0.3 * deep, 96 + 0.5 * deep, self.front_mm + 8, self.front_mm,
                  self.front_mm - 4, 0.75 * self.front_mm + 22, 80, 76, 66, 60, 60]
        backs = [24, 24, 40, 66, 78, 74, self.back_mm + 8, self.back_mm, self.back_mm, 60, 74, 68, 56, 50, 50]
        width, front, back = (np.interp(z, marks, np.array(line, np.float32)).astype(np.float32)
                              for line in (widths, fronts, backs))
        return width, front, back

    def trunk(self, z: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Returns the level that body wall and skin follow, in mm; negative inside."""
        width, front, back = self.outline(z)
        depth = np.where(y < 0, front, back)
        power = np.float32(self.roundness)
        share = ((np.abs(x) / width) ** power + (np.abs(y) / depth) ** power) ** (1 / power)
        return (share - 1) * np.minimum(width, np.hypot(x, y) / np.maximum(share, 0.2) + 1)

    def cavity(self, z: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Returns the level of the space for organs, in mm: the trunk without the posterior spine and back muscles."""
        return np.maximum(self.trunk(z, y, x), 0.65 * (y - 12 - 1.5 * np.maximum(np.abs(x) - 15, 0)))

    def dome(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Returns z of the diaphragm, in mm: highest in front of the middle on each side, low at the back."""
        right = self.dome_mm + 0.0072 * (x + 62) ** 2
        left = self.dome_mm + 12 + 0.0085 * (x - 64) ** 2
        behind = np.where(y > -35, 0.0078, 0.0032) * (y + 35) ** 2
        return np.minimum(np.minimum(right, left) + behind, -18.0)

    def chest(self, z: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Returns the level of the space above the diaphragm and inside the ribs, in mm; negative inside."""
        return np.maximum(0.75 * (z - self.dome(y, x)), self.cavity(z, y, x) + 1.0)

    def abdomen(self, z: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Returns the level of the space below the diaphragm and inside the wall, in mm; negative inside."""
        return np.maximum(0.75 * (self.dome(y, x) + 3.5 - z), self.cavity(z, y, x) + 2.0)


def psoas(patient: Patient, side: int, z: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Returns the level of the psoas muscle, in mm, negative inside; `side` is -1 right, 1 left.

    The muscle lies beside the spine and runs outward and forward toward the feet.
    """
    marks = np.array([-40, 0, 40, 90, 140, 190, 240, 285], np.float32)
    size = np.interp(z, marks, [4, 12, 18, 22, 23, 18, 14, 9]) * patient.fitness**0.6
    out = np.interp(z, marks, [23, 29, 36, 43, 50, 62, 78, 88])
    back = np.interp(z, marks, [8, 8, 9, 5, -8, -32, -48, -30])
    return np.hypot((y - back) / 1.12, x - side * out) - size
