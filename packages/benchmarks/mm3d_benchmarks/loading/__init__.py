"""From a prepared scene to a batch: crops, voxels, augmentation, features and labels, in the loader's workers."""
