"""One scan file of any format into coordinates, colors, normals and labels; and which files of a folder are scans."""
