"""Makes scans that are refused and scans that are odd but usable, with the expected message for each.

Each maker takes the path to write to; its name is the table's key.
"""

import bz2
import gzip
import os

import nibabel as nib
import numpy as np

from harness.geometries import affine_of

SHAPE = (3, 4, 5)
HU = np.random.default_rng(0).integers(-1024, 3000, SHAPE).astype(np.int16)
STRAIGHT = affine_of("LAS")
NAN, INF = float("nan"), float("inf")


def save(path, array, affine=STRAIGHT, **header):
    image = nib.Nifti1Image(array, affine)
    for name, value in header.items():
        image.header[name] = value
    nib.save(image, path)
    return path


def patched(path, field, value, header=nib.Nifti1Header):
    """Sets a header field of an uncompressed file without nibabel's checks."""
    dtype, offset = header.template_dtype.fields[field][:2]
    raw = bytearray(path.read_bytes())
    data = np.asarray(value, dtype.base).tobytes()
    raw[offset:offset + len(data)] = data
    path.write_bytes(bytes(raw))
    return path


def _text(path):
    path.write_text("This is no scan.\n" * 50)


def _noise(path):
    """Writes random voxels 0 to 2, which are valid labels too; about 6000 bytes."""
    return save(path, np.random.default_rng(0).integers(0, 3, (30, 40, 20)).astype(np.int16))


def _cut(size):
    return lambda path: path.write_bytes(_noise(path).read_bytes()[:size])


def _cut_plain(path):
    save(path, HU)
    path.write_bytes(path.read_bytes()[:400])


def _flipped(at, length):
    def make(path):
        raw = bytearray(_noise(path).read_bytes())
        raw[at:at + length if at >= 0 else None] = bytes(length)
        path.write_bytes(bytes(raw))
    return make


def _one(value):
    def make(path):
        array = HU.astype(np.float32)
        array[1, 2, 3] = value
        save(path, array)
    return make


def _colors(letters):
    return lambda path: save(path, np.zeros(SHAPE, [(letter, "u1") for letter in letters]))


def _header(**fields):
    def make(path):
        save(path, HU)
        for field, value in fields.items():
            patched(path, field, value)
    return make


def _nifti2(**fields):
    def make(path):
        nib.save(nib.Nifti2Image(HU, STRAIGHT), path)
        for field, value in fields.items():
            patched(path, field, value, nib.Nifti2Header)
    return make


def _senseless(affine):
    """Makes a header with the affine in the sform only, without nibabel's checks."""
    return _header(qform_code=0, sform_code=1, srow_x=affine[0], srow_y=affine[1], srow_z=affine[2])


def _stretched(steps_mm, shape=SHAPE):
    return lambda path: save(path, np.resize(HU, shape), affine_of("LAS", steps_mm))


def _bomb(shape, dtype, megabytes, **fields):
    """Makes a gzip file with a header and `megabytes` MiB of zeros; 64 MiB of zeros take 64 KiB."""
    def make(path):
        header = nib.Nifti1Header()
        header.set_data_shape(shape)
        header.set_data_dtype(dtype)
        header.set_sform(affine_of("LAS", (0.5, 0.5, 0.5)), 1)
        header["vox_offset"] = 352
        for field, value in fields.items():
            header[field] = value
        flag = b"\1" if "vox_offset" in fields else b"\0"  # extensions follow
        zeros = gzip.compress(bytes(2**26), 1)
        path.write_bytes(gzip.compress(header.binaryblock + flag + bytes(3)) + megabytes // 64 * zeros)
    return make


def _unreadable(path):
    save(path, HU)
    path.chmod(0)


def _renamed(ending):
    """Makes a complete file whose name claims another compression."""
    def make(path):
        other = save(path.with_name(f"whole{ending}"), HU)
        path.write_bytes(other.read_bytes())
        other.unlink()
    return make


def _alone(path):
    """Writes only one file of a .hdr and .img pair."""
    other = path.with_suffix(".img" if path.suffix == ".hdr" else ".hdr")
    nib.save(nib.Nifti1Pair(HU, STRAIGHT), path)
    other.unlink()


REFUSED = {
    "missing.nii.gz": (lambda path: None, "no such file"),
    "folder.nii.gz": (lambda path: path.mkdir(), "is a folder"),
    "pipe.nii.gz": (os.mkfifo, "is no regular file"),
    "loop.nii.gz": (lambda path: path.symlink_to(path), "a dangling symbolic link"),
    "dangling.nii.gz": (lambda path: path.symlink_to("gone.nii.gz"), "a dangling symbolic link"),
    "unreadable.nii.gz": (_unreadable, "cannot be read as NIfTI .*Permission denied"),
    "text.nii.gz": (_text, "cannot be read"),
    "text.nii": (_text, "cannot be read"),
    "text.txt": (_text, "cannot be read"),
    "empty.nii.gz": (lambda path: path.write_bytes(b""), "cannot be read"),
    "empty.nii": (lambda path: path.write_bytes(b""), "cannot be read"),
    "gzip_of_nothing.nii.gz": (lambda path: path.write_bytes(gzip.compress(b"")), "cannot be read"),
    "not_packed.nii.gz": (_renamed(".nii"), "cannot be read"),
    "packed.nii": (_renamed(".nii.gz"), "cannot be read"),
    "other_packing.nii.bz2": (lambda path: path.write_bytes(bz2.compress(bytes(9999))), "its name is not that of"),
    "cut.nii.gz": (_cut(4000), "is the file whole"),
    "cut_in_its_checksum.nii.gz": (_cut(-3), "is the file whole"),
    "cut_in_its_header.nii.gz": (_cut(100), "cannot be read"),
    "cut.nii": (_cut_plain, "is the file whole"),
    "flipped.nii.gz": (_flipped(4000, 100), "is the file whole|holds label"),  # decompresses to wrong values first
    "wrong_checksum.nii.gz": (_flipped(-8, 4), "is the file whole"),
    "analyze.hdr": (lambda path: nib.save(nib.Spm99AnalyzeImage(HU, np.eye(4)), path), "expected NIfTI"),
    "header_alone.hdr": (_alone, "header_alone.img"),
    "voxels_alone.img": (_alone, "voxels_alone.hdr"),
    "2d.nii.gz": (lambda path: save(path, HU[0]), r"shape \(4, 5\)"),
    "frames.nii.gz": (lambda path: save(path, np.stack([HU, HU], -1)), r"shape \(3, 4, 5, 2\)"),
    "vectors.nii.gz": (lambda path: save(path, np.stack([HU, HU, HU], -1)[:, :, :, np.newaxis]), "expected one 3D"),
    "nan.nii.gz": (_one(NAN), "1 voxels are NaN or infinite"),
    "inf.nii.gz": (_one(-INF), "1 voxels are NaN or infinite"),
    "too_large_for_float32.nii.gz": (lambda path: save(path, np.full(SHAPE, 1e300)), "60 voxels are NaN or infinite"),
    "complex.nii.gz": (lambda path: save(path, HU.astype(np.complex64)), "complex64"),
    "rgb.nii.gz": (_colors("RGB"), "expected real numbers"),
    "rgba.nii.gz": (_colors("RGBA"), "expected real numbers"),
    "zero_spacing.nii": (_header(pixdim=[1, 1, 0, 1, 0, 0, 0, 0]), "spacing"),
    "zero_spacing_alone.nii": (_header(pixdim=[1, 1, 0, 1, 0, 0, 0, 0], qform_code=0, sform_code=0), "spacing"),
    "negative_spacing.nii": (_header(pixdim=[1, 1, -3, 1, 0, 0, 0, 0]), "spacing"),
    "nan_spacing.nii": (_header(pixdim=[1, 1, NAN, 1, 0, 0, 0, 0]), "spacing"),
    "infinite_spacing.nii": (_header(pixdim=[1, 1, INF, 1, 0, 0, 0, 0], qform_code=0, sform_code=0), "spacing"),
    "spacing_of_meters.nii.gz": (_stretched((0.005, 0.0008, 0.0008)), "spacing"),
    "spacing_of_micrometers.nii.gz": (_stretched((5000, 800, 800)), "spacing"),
    "ten_meters.nii.gz": (_stretched((20, 20, 20), (4, 512, 5)), "is 10240 mm long"),
    "singular.nii": (_senseless([[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0]]), "singular"),
    "zero_affine.nii": (_senseless(np.zeros((3, 4))), "singular"),
    "nan_affine.nii": (_senseless([[1, 0, 0, 0], [0, NAN, 0, 0], [0, 0, 1, 0]]), "not finite"),
    "micrometers.nii": (_senseless([[1e-5, 0, 0, 0], [0, 1e-5, 0, 0], [0, 0, 1e-5, 0]]), "spacing"),
    "bad_quaternion.nii": (_header(quatern_b=2, qform_code=1, sform_code=0), "bad_quaternion"),
    "unknown_type.nii": (_header(datatype=999), "cannot be read"),
    "no_intercept.nii": (_header(scl_slope=2.0, scl_inter=NAN), "cannot be read"),
    "nine_axes.nii": (_header(dim=[9, 3, 4, 5, 1, 1, 1, 1]), "nine_axes"),
    "negative_axis.nii": (_header(dim=[3, 3, -4, 5, 1, 1, 1, 1]), "negative_axis"),
    "no_voxels.nii": (_header(dim=[3, 3, 0, 5, 1, 1, 1, 1]), "expected one 3D volume"),
    "more_voxels.nii": (_header(dim=[3, 3, 4, 6, 1, 1, 1, 1]), "is the file whole"),
    "huge.nii": (_header(dim=[3, 32767, 32767, 32767, 1, 1, 1, 1]), "is the file whole"),
    "huge.nii.gz": (_bomb((30000, 30000, 30000), np.int16, 64), "its header claims 54000000000000 bytes"),
    "huge_nifti2.nii": (_nifti2(dim=[3, 2**40, 2**40, 2**40, 1, 1, 1, 1]), "is the file whole"),
    "bomb.nii.gz": (_bomb((2048, 2048, 1024), np.uint8, 5 * 1024), "2048 x 2048 x 1024 voxels, expected at most"),
    "bomb_behind.nii.gz": (_bomb((8, 8, 8), np.int16, 1024), "has more than the 8 x 8 x 8 voxels"),
    "bomb_in_header.nii.gz": (_bomb((8, 8, 8), np.int16, 1024, vox_offset=2**30), "claims that voxels begin at byte"),
    "bomb_in_extension.nii.gz": (_bomb((8, 8, 8), np.int16, 1024, vox_offset=2**20), "cannot be read"),
    "voxels_before_header.nii": (_header(vox_offset=-352.0), "begin at byte -352"),
    "bad_magic.nii": (_header(magic=b"xyz"), "bad_magic"),
}
# Reading this as labels is only slow: labels keep 8 bits per voxel, whatever the header claims.
REFUSED_AS_SCAN = {
    "bomb_of_doubles.nii.gz": (_bomb((1024, 1024, 512), np.float64, 4 * 1024), "is it a gzip bomb"),
}


def touch(folder, *names):
    """Writes empty files into a folder and those above them; returns the folder."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return folder
