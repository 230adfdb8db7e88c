"""Makes CT series for tests, with one file per slice, as a scanner writes them."""

import numpy as np
import pydicom
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian


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
