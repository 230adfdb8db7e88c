"""Writes labels as a DICOM segmentation (DICOM SEG) that refers to the slices of a series.

highdicom writes the segmentation. It copies much of the series and refuses it for many a value, so it is given copies
of the slices that hold only what is valid: what the standard allows to be empty is left empty.
"""

import contextlib
import hashlib
import io
import logging
import pathlib
import re
import warnings

import highdicom as hd
import numpy as np
import pydicom
from highdicom.sr.coding import CodedConcept
from pydicom.datadict import dictionary_VM
from pydicom.sr.codedict import codes
from pydicom.valuerep import validate_value

from kits_tf import labels as classes
from kits_tf.errors import InputError, one_line
from kits_tf.files.atomic import write_bytes
from kits_tf.scans.dicom import LPS_TO_RAS, even_positions, orientation_of
from kits_tf.scans.dicom_files import CT, number_in
from kits_tf.volume import Volume

# highdicom also warns of odd names, which it writes as they are.
warnings.filterwarnings("ignore", module="highdicom")
logging.getLogger("highdicom").setLevel(logging.ERROR)

# SNOMED CT codes from DICOM's context groups CID 7151 and 7192.
_SEGMENTS = {
    classes.KIDNEY: ("kidney", codes.SCT.Organ, CodedConcept("64033007", "SCT", "Kidney")),
    classes.TUMOR: ("kidney tumor", codes.SCT.MorphologicallyAbnormalStructure,
                    CodedConcept("108369006", "SCT", "Neoplasm")),
}
# Of the patient and the study; a segmentation has them all, if need be empty (type 2 in the standard).
TYPE_2 = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
          "StudyTime", "ReferringPhysicianName")
SEXES = ("M", "F", "O")
# Where a segmentation's date and time come from; a made-up one if a series has none.
DATES = (("StudyDate", "StudyTime"), ("SeriesDate", "SeriesTime"), ("AcquisitionDate", "AcquisitionTime"),
         ("ContentDate", "ContentTime"))
NO_DATE = ("19000101", "000000")
STRICT = ("AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI", "UR")  # value representations that have a format
LOSSY = ("00", "01")  # no and yes
COPIED = ("Rows", "Columns", "PixelSpacing")  # of every slice
UID = re.compile(r"(?=.{1,64}$)\d+(\.\d+)*")  # also with leading zeros, which some scanners write
UTF_8 = "ISO_IR 192"  # as DICOM calls it
CHARACTER_SET = pydicom.tag.Tag("SpecificCharacterSet")
PIXEL_GROUPS = 0x5000  # groups of tags from here on hold curves, overlays and pixels


def write_segmentation(path: str | pathlib.Path, labels: Volume, slices: list[pydicom.Dataset], version: str) -> bool:
    """Writes labels as a DICOM segmentation that refers to the slices of the scan, atomically.

    Kidney and tumor are one binary segment each; a class without voxels has no segment. The same labels of the same
    series give the same bytes.

    Args:
        path: the .dcm file.
        labels: Volume of class ids, with the geometry of read_series' volume.
        slices: the Datasets that read_series returned.
        version: of the software and model, as text.

    Returns:
        True if the file was written; False for empty labels, because a DICOM segmentation needs a segment.

    Raises:
        InputError: if the segmentation cannot refer to the slices, because they lack a UID that identifies them. The
            message does not name the file.
    """
    found = [class_id for class_id in _SEGMENTS if (labels.voxels == class_id).any()]
    if not found:
        return False
    try:
        data = _segmentation(labels, slices, version, found)
    except Exception as error:  # highdicom and pydicom raise many types
        raise InputError(f"no DICOM segmentation can be made of the series ({one_line(error)}); leave dicomseg out of "
                         f"--output_format") from error
    write_bytes(path, data)
    return True


def _segmentation(labels, slices, version, found):
    """Returns the bytes of a segmentation of the classes that were found."""
    sources = _sources(slices)
    masks = np.stack([labels.voxels == class_id for class_id in found], axis=-1)
    stack = hd.Volume(masks.astype(np.uint8), LPS_TO_RAS @ labels.affine, coordinate_system="PATIENT",
                      frame_of_reference_uid=sources[0].FrameOfReferenceUID,
                      channels={"SegmentNumber": list(range(1, len(found) + 1))})
    algorithm = hd.AlgorithmIdentificationSequence("kits_tf", codes.DCM.ArtificialIntelligence, version)
    descriptions = [
        hd.seg.SegmentDescription(number, name, category, kind, hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC, algorithm)
        for number, (name, category, kind) in enumerate((_SEGMENTS[class_id] for class_id in found), 1)]
    made_from = [sources[0].SeriesInstanceUID, version, hashlib.sha256(labels.voxels.tobytes()).hexdigest()]
    series_uid, instance_uid, dimensions_uid = (pydicom.uid.generate_uid(entropy_srcs=[*made_from, what])
                                                for what in ("series", "instance", "dimensions"))
    segmentation = hd.seg.Segmentation(
        source_images=sources, pixel_array=stack, segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=descriptions, series_instance_uid=series_uid, series_number=900,
        sop_instance_uid=instance_uid, instance_number=1, manufacturer="kits_tf", manufacturer_model_name="kits_tf",
        software_versions=version, device_serial_number="0", series_description="Kidney and tumor, kits_tf",
        content_label="KIDNEY_TUMOR")
    segmentation.SpecificCharacterSet = UTF_8
    studies = _references(slices)
    segmentation.ReferencedSeriesSequence = studies.pop(sources[0].StudyInstanceUID)
    segmentation.pop("StudiesContainingOtherReferencedInstancesSequence", None)
    if studies:
        segmentation.StudiesContainingOtherReferencedInstancesSequence = [_study(*each) for each in studies.items()]
    # Use the scan's dates, not today's, and no random numbers, so that the same case gives the same bytes.
    date, time = next(((sources[0].get(date), sources[0].get(time) or NO_DATE[1]) for date, time in DATES
                       if sources[0].get(date)), NO_DATE)
    for field in ("ContentDate", "ContentTime", "InstanceCreationDate", "InstanceCreationTime", "SeriesDate",
                  "SeriesTime"):
        if field in segmentation:
            setattr(segmentation, field, date if field.endswith("Date") else time)
    for equipment in segmentation.get("ContributingEquipmentSequence", [])[-1:]:  # highdicom itself, today
        equipment.pop("ContributionDateTime", None)
    for item in (*segmentation.DimensionOrganizationSequence, *segmentation.DimensionIndexSequence):
        item.DimensionOrganizationUID = dimensions_uid
    stream = io.BytesIO()
    segmentation.save_as(stream)
    return stream.getvalue()


def _sources(slices):
    """Returns copies of the slices with what highdicom needs alone, of which the first describes patient and study.

    An anonymizer may have given each slice a study of its own: the segmentation then is part of the first slice's.
    """
    study = _uid(slices[0], "StudyInstanceUID")
    frames = {str(dataset.get("FrameOfReferenceUID") or "") for dataset in slices} - {""}
    frame = frames.pop() if len(frames) == 1 else ""
    if not UID.fullmatch(frame):
        frame = pydicom.uid.generate_uid(entropy_srcs=[_uid(slices[0], "SeriesInstanceUID"), "frame of reference"])
    directions, places_mm = orientation_of(slices[0]).ravel().tolist(), even_positions(slices)
    thickness_mm = number_in(slices[0], "SliceThickness") or (
        number_in(slices[0], "SpacingBetweenSlices") if len(slices) == 1 else
        float(np.linalg.norm(places_mm[1] - places_mm[0])))
    sources = [_clean(slices[0]), *(pydicom.Dataset() for _ in slices[1:])]
    for source, dataset, place_mm in zip(sources, slices, places_mm.tolist(), strict=True):
        for field in COPIED:
            source[field] = slices[0][field]
        source.Modality, source.SOPClassUID, source.SOPInstanceUID = "CT", CT, _instance(dataset)
        source.StudyInstanceUID, source.SeriesInstanceUID = study, _uid(slices[0], "SeriesInstanceUID")
        source.FrameOfReferenceUID, source.SliceThickness = frame, thickness_mm
        source.ImageOrientationPatient, source.ImagePositionPatient = directions, place_mm
    for field in TYPE_2:
        if field not in sources[0] or (field == "PatientSex" and sources[0].PatientSex not in SEXES):
            setattr(sources[0], field, None)
    if sources[0].get("LossyImageCompression") not in LOSSY:
        sources[0].LossyImageCompression = LOSSY[0]
    return sources


def _uid(dataset, field):
    """Returns a UID; raises ValueError if it is missing or none."""
    value = str(dataset.get(field) or "")
    if not UID.fullmatch(value):
        raise ValueError(f"{field} is {one_line(value)}, no UID" if value else f"a slice has no {field}")
    return value


def _instance(dataset):
    """Returns a slice's SOPInstanceUID, from the file's meta header if the field is empty."""
    if dataset.get("SOPInstanceUID"):
        return _uid(dataset, "SOPInstanceUID")
    return _uid(dataset.file_meta, "MediaStorageSOPInstanceUID")


def _references(slices):
    """Returns the items of a ReferencedSeriesSequence by StudyInstanceUID.

    An anonymizer may have given each slice a series, or even a study, of its own. PS3.3 C.12.2 lists the instances of
    the segmentation's study apart from those of other studies.

    Raises:
        ValueError: if two slices have the same UID.
    """
    series: dict[tuple[str, str], pydicom.Dataset] = {}
    studies: dict[str, list] = {}
    instances = {_instance(dataset) for dataset in slices}
    if len(instances) < len(slices):
        raise ValueError(f"its {len(slices)} slices have only {len(instances)} different SOPInstanceUIDs")
    for dataset in slices:
        reference = pydicom.Dataset()
        reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = CT, _instance(dataset)
        study, uid = _uid(dataset, "StudyInstanceUID"), _uid(dataset, "SeriesInstanceUID")
        if (study, uid) not in series:
            item = series[study, uid] = pydicom.Dataset()
            item.SeriesInstanceUID, item.ReferencedInstanceSequence = uid, []
            studies.setdefault(study, []).append(item)
        series[study, uid].ReferencedInstanceSequence.append(reference)
    return studies


def _study(uid, series):
    """Returns an item of the StudiesContainingOtherReferencedInstancesSequence."""
    item = pydicom.Dataset()
    item.StudyInstanceUID, item.ReferencedSeriesSequence = uid, series
    return item


def _clean(dataset):
    """Returns a copy without pixels, private elements, and values that are invalid or cannot be written."""
    clean = pydicom.Dataset()
    for tag in dataset.keys():  # noqa: SIM118 - iterating over a Dataset decodes its elements
        if not (tag.is_private or tag.group >= PIXEL_GROUPS or tag == CHARACTER_SET):
            with contextlib.suppress(Exception):  # the conversion of an odd value raises many types
                element = _clean_element(dataset[tag])
                probe = pydicom.Dataset()
                probe.SpecificCharacterSet = UTF_8
                probe.add(element)
                probe.save_as(io.BytesIO(), implicit_vr=False, little_endian=True)
                clean.add(element)
    return clean


def _clean_element(element):
    """Returns a valid copy of an element, text as str; raises an exception if its value is invalid."""
    if element.VR == "SQ":
        return pydicom.DataElement(element.tag, "SQ", [_clean(item) for item in element.value])
    several = isinstance(element.value, pydicom.multival.MultiValue)
    if several and dictionary_VM(element.tag) == "1":
        raise ValueError(f"{element.name} has {len(element.value)} values, expected one")
    values = list(element.value) if several else [element.value]
    if element.VR in STRICT:
        for value in values:
            validate_value(element.VR, "" if value is None else str(value), pydicom.config.RAISE)
    if element.VR == "PN":  # otherwise it keeps the bytes and the character set of its file
        values = [str(value) for value in values]
    return pydicom.DataElement(element.tag, element.VR, values if several else values[0])
