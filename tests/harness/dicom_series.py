"""Makes CT series for tests, with one file per slice, as a scanner writes them."""

import copy

import numpy as np
import pydicom
import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from kits_tf.errors import InputError
from kits_tf.scans.dicom import read_series

SPACING_MM = (3.0, 0.8, 0.9)


def random_scan():
    """Returns random HU (z, y, x), int16, so that a slice from the wrong position cannot match."""
    return np.random.default_rng(0).integers(-1000, 1500, (6, 9, 11)).astype(np.int16)


def slices_of(hu, spacing_mm, origin_mm=(-20.0, -35.0, 100.0), row=(1.0, 0.0, 0.0), column=(0.0, 1.0, 0.0), series="1"):
    """Makes the pydicom Datasets of a scan.

    Args:
        hu: int16 (slices, rows, columns), stacked along row x column (cross product).
        spacing_mm: between slices, rows and columns.
        origin_mm: LPS position of the first voxel's center.
        row, column: LPS directions of increasing column and row index.
        series: identifies the series.
    """
    normal = np.cross(row, column)
    datasets = []
    for number, plane in enumerate(hu):
        meta = pydicom.dataset.FileMetaDataset()
        meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, CTImageStorage
        meta.MediaStorageSOPInstanceUID = f"1.2.826.0.1.{series}.{number + 1}"
        dataset = pydicom.Dataset()
        dataset.file_meta = meta
        dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.826.0.2", f"1.2.826.0.3.{series}"
        dataset.FrameOfReferenceUID = "1.2.826.0.4"
        dataset.PatientID, dataset.PatientName, dataset.PatientBirthDate, dataset.PatientSex = "p", "a^b", "", "O"
        dataset.StudyDate, dataset.StudyTime, dataset.StudyID, dataset.AccessionNumber = "20200102", "030405", "1", ""
        dataset.ReferringPhysicianName = ""
        dataset.Modality, dataset.SeriesNumber, dataset.InstanceNumber = "CT", series, number + 1
        dataset.SeriesDescription, dataset.ImageType = f"phase {series}", ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.Rows, dataset.Columns = plane.shape
        dataset.PixelSpacing, dataset.SliceThickness = [float(spacing_mm[1]), float(spacing_mm[2])], str(spacing_mm[0])
        dataset.ImageOrientationPatient = [float(value) for value in (*row, *column)]
        place = np.add(origin_mm, number * spacing_mm[0] * normal)
        dataset.ImagePositionPatient = [round(float(value), 6) for value in place]
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
        dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = "1", "-1024", "HU"
        dataset.PixelData = (plane + 1024).astype(np.uint16).tobytes()
        datasets.append(dataset)
    return datasets


def write_series(folder, datasets, seed=0):
    """Writes the datasets under names whose order does not follow their positions."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, index in enumerate(np.random.default_rng(seed).permutation(len(datasets))):
        datasets[index].save_as(folder / f"IM{name:04d}", enforce_file_format=True)
    return folder


# What scanners write beside the geometry; None: the scanner writes no such field.
SCANNERS = {
    "GE": {"Manufacturer": "GE MEDICAL SYSTEMS", "ManufacturerModelName": "LightSpeed VCT", "StationName": "CT01",
           "SpecificCharacterSet": "ISO_IR 100", "PatientName": "Müller^Jörg", "PatientSex": "M", "PatientAge": "063Y",
           "PatientWeight": "", "OtherPatientIDs": "x-17", "AcquisitionDate": "20200102",
           "AcquisitionTime": "030405.123456", "SoftwareVersions": "07MW18.4", "StudyDescription": "ABD/PEL",
           "PixelPaddingValue": 63536, "AdditionalPatientHistory": "flank pain\r\n"},
    "Siemens": {"Manufacturer": "SIEMENS", "ManufacturerModelName": "SOMATOM Definition AS+", "StationName": "CTAWP1",
                "SpecificCharacterSet": "ISO_IR 100", "InstitutionName": "Universitätsklinikum", "PatientAge": "063Y",
                "InstitutionAddress": "Straße 1\r\nStadt\r\nDE", "SoftwareVersions": "syngo CT 2012B",
                "AcquisitionDate": "20200102", "AcquisitionTime": "030405.1", "ImageComments": "",
                "StudyDescription": "Abdomen^01_ABD (Adult)", "ReferencedStudySequence": [], "PatientSex": "F"},
    "Philips": {"Manufacturer": "Philips", "ManufacturerModelName": "iCT 256", "SoftwareVersions": ["4.1.6", "5.0"],
                "PatientSex": None, "AccessionNumber": None, "StudyID": "", "PatientSize": "0.0",
                "PositionReferenceIndicator": "", "ContentDate": "20200102", "ContentTime": "030405"},
    "Canon": {"Manufacturer": "TOSHIBA", "ManufacturerModelName": "Aquilion ONE", "InstitutionName": "中央病院" * 9,
              "SpecificCharacterSet": ["", "ISO 2022 IR 87"], "PatientName": "YAMADA^TARO=山田^太郎",
              "AcquisitionDateTime": "20200102030405.100+0900", "TimezoneOffsetFromUTC": "+0900", "StudyID": "12345",
              "SoftwareVersions": "V8.45ER006", "ReferringPhysicianName": "", "DeviceSerialNumber": "2CA1562118"},
}
# What tells who or when, and no volume needs.
IDENTIFYING = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "PatientAge", "PatientWeight", "StudyDate",
               "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName", "SeriesNumber", "SeriesDescription",
               "AcquisitionDate", "AcquisitionTime", "AcquisitionDateTime", "Manufacturer", "SoftwareVersions",
               "InstitutionName", "FrameOfReferenceUID", "SliceThickness")


def written_by(scanner, datasets):
    """Gives the slices the fields that a scanner of SCANNERS writes."""
    for dataset in datasets:
        for field, value in SCANNERS[scanner].items():
            if value is None:
                delattr(dataset, field)
            else:
                setattr(dataset, field, value)
        dataset.private_block(0x0029, "A SCANNER'S OWN", create=True).add_new(0x10, "OB", b"\1\2\3\4")
    return datasets


def raw(dataset, field, text):
    """Sets a field to text that its value representation does not allow, as anonymizers do."""
    tag = pydicom.tag.Tag(field)
    vr = pydicom.datadict.dictionary_VR(tag)
    data = text.encode() + b" " * (len(text) % 2)
    dataset._dict[tag] = pydicom.dataelem.RawDataElement(tag, vr, len(data), data, 0, False, True)


def _delete(datasets):
    for dataset in datasets:
        for field in IDENTIFYING:
            if field in dataset:
                delattr(dataset, field)


def _replace(text):
    def change(datasets):
        for dataset in datasets:
            for field in IDENTIFYING:
                if field in dataset:
                    raw(dataset, field, text)
    return change


def _shift_dates(datasets):
    for dataset in datasets:
        dataset.StudyDate = dataset.AcquisitionDate = "18991231"
        dataset.AcquisitionTime, dataset.PatientBirthDate = "", "17000101"


def _uids(*fields):
    """Gives each file its own UIDs of these fields."""
    def change(datasets):
        for number, dataset in enumerate(datasets):
            for field in fields:
                setattr(dataset, field, f"2.25.{number + 1}{len(field)}")
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return change


ANONYMIZERS = {
    "deletes": _delete,
    "empties": _replace(""),
    "writes words": _replace("REMOVED BY ANONYMIZER"),
    "shifts dates": _shift_dates,
    "replaces UIDs": _uids("SOPInstanceUID"),
    "a frame of reference per file": _uids("FrameOfReferenceUID"),
    "a series per file": _uids("SOPInstanceUID", "SeriesInstanceUID"),
    "a study per file": _uids("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"),
    "replaces study UIDs": _uids("SOPInstanceUID", "StudyInstanceUID"),
}


def enhanced(slices, shared=("PixelMeasuresSequence", "PlaneOrientationSequence"),
             class_uid=pydicom.uid.EnhancedCTImageStorage):
    """Puts the slices of a series into one multi-frame Dataset, in their order.

    Args:
        slices: Datasets as of slices_of, uncompressed.
        shared: the functional groups that all frames share, with the first slice's values; the others are per frame.
        class_uid: its SOP class.
    """
    fields = {"PixelMeasuresSequence": ("PixelSpacing", "SliceThickness"),
              "PlaneOrientationSequence": ("ImageOrientationPatient",),
              "PlanePositionSequence": ("ImagePositionPatient",),
              "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept", "RescaleType")}

    def groups(dataset, names):
        group = pydicom.Dataset()
        for name in names:
            item = pydicom.Dataset()
            for field in fields[name]:
                if field in dataset:
                    item[field] = dataset[field]
            setattr(group, name, [item])
        return group

    whole = pydicom.Dataset()
    whole.update({tag: copy.copy(element) for tag, element in slices[0].items()
                  if element.keyword not in {field for each in fields.values() for field in each}})
    whole.file_meta = pydicom.dataset.FileMetaDataset()
    whole.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    whole.file_meta.MediaStorageSOPClassUID = whole.SOPClassUID = class_uid
    whole.file_meta.MediaStorageSOPInstanceUID = whole.SOPInstanceUID = "1.2.826.0.9.1"
    whole.NumberOfFrames = len(slices)
    whole.SharedFunctionalGroupsSequence = [groups(slices[0], shared)]
    whole.PerFrameFunctionalGroupsSequence = [groups(dataset, set(fields) - set(shared)) for dataset in slices]
    whole.PixelData = b"".join(dataset.PixelData for dataset in slices)
    return whole


def refusal(path):
    """Returns why a series cannot be read, without the path that the message begins with."""
    with pytest.raises(InputError) as caught:
        read_series(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and message.isprintable()
    return message.removeprefix(f"{path}: ")
