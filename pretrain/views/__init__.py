"""Named view sets, one file each: what a paper does to images, as pure functions on whole batches on the device."""
