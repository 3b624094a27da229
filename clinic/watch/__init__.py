"""`orthoedge watch`: the images of a folder, answered as those that come by DICOM."""
