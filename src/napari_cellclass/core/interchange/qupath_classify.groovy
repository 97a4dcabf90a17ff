// Classifies the tiles of the image that is open in QuPath, or those in the selected annotations.
// Written by napari-cellclass; QuPath 0.5 or newer. See the text file of the same name.

import groovy.transform.CompileStatic
import org.bytedeco.javacpp.FloatPointer
import org.bytedeco.opencv.global.opencv_core
import org.bytedeco.opencv.global.opencv_dnn
import org.bytedeco.opencv.opencv_core.Mat
import qupath.lib.objects.PathObjects
import qupath.lib.objects.classes.PathClass
import qupath.lib.regions.ImagePlane
import qupath.lib.regions.RegionRequest
import qupath.lib.roi.ROIs

// The file of the model: a full path, or a name in the folder of the project or in its folder "scripts".
def modelFile = @MODEL@
def modelId = @MODEL_ID@
def classNames = @CLASSES@
def channels = @CHANNELS@
def tileHeight = @TILE_HEIGHT@, tileWidth = @TILE_WIDTH@  // px
def stepY = @STEP_Y@, stepX = @STEP_X@  // px from one tile to the next
def edge = @EDGE@  // of the strip at the edge: drop, pad or shift
def pixelSizeUm = @PIXEL_SIZE_UM@  // (y, x) of the images that the model was trained on, or null
def percentiles = @PERCENTILES@  // of each channel that become 0 and 1, or null where the model takes grey values
def cover = 0.5d  // of a tile that an annotation has to cover

// <tiles> Also valid Java; "/" is not used on whole numbers, as Groovy gives fractions.
@CompileStatic
class CellClassTiles {
    /** Where tiles start along an axis. */
    static int[] starts(int length, int tile, int step, String edge) {
        int count = 0;
        if (length < tile) {
            count = edge.equals("pad") && length > 0 ? 1 : 0;
            return new int[count];
        }
        count = Math.floorDiv(length - tile, step) + 1;
        boolean rest = (count - 1) * step + tile < length && !edge.equals("drop");
        int all = rest ? count + 1 : count;
        int[] found = new int[all];
        for (int i = 0; i < count; i++) {
            found[i] = i * step;
        }
        if (rest) {
            found[count] = edge.equals("pad") ? count * step : length - tile;
        }
        return found;
    }

    /** Points along a side of a tile at which an annotation is asked whether it contains them. */
    static double[] points(int tile) {
        double[] found = new double[8];
        for (int i = 0; i < 8; i++) {
            found[i] = (i + 0.5d) * tile * 0.125d;
        }
        return found;
    }

    /** A position past the edge as that of the pixel that is mirrored there. */
    static int mirrored(int position, int length) {
        int place = Math.floorMod(position, 2 * length);
        return place < length ? place : 2 * length - 1 - place;
    }

    /** Copies a channel of a tile, which may end at the image's edge, to its place among the values of the network. */
    static void copy(float[] pixels, int height, int width, float[] values, int offset, int tileHeight, int tileWidth, double low, double high) {
        for (int y = 0; y < tileHeight; y++) {
            int row = mirrored(y, height) * width;
            for (int x = 0; x < tileWidth; x++) {
                double pixel = pixels[row + mirrored(x, width)];
                values[offset + y * tileWidth + x] = (float) ((pixel - low) / (high - low));
            }
        }
    }

    /** The class of the highest probability, the first of equal ones. */
    static int likeliest(float[] probabilities) {
        int best = 0;
        for (int i = 1; i < probabilities.length; i++) {
            if (probabilities[i] > probabilities[best]) {
                best = i;
            }
        }
        return best;
    }

    /** Starts and lengths, in pairs, of the parts of an axis in which percentiles are measured. */
    static int[] sampled(int side, int other) {
        long most = 4000000L;
        int whole = side;
        if ((long) side * other > most) {
            int shorter = Math.min(Math.min(side, other), 2000);
            whole = side <= other ? shorter : (int) Math.min((long) side, Math.floorDiv(most, (long) shorter));
        }
        int each = Math.floorDiv(whole, 16);
        int room = Math.floorDiv(side, 16);
        if (each == 0 || side == whole) {
            int[] one = new int[2];
            one[1] = whole;
            return one;
        }
        int[] found = new int[32];
        for (int i = 0; i < 16; i++) {
            int start = i * room + Math.floorDiv(room - each, 2);
            found[2 * i] = room >= each + 256 ? Math.floorDiv(start, 256) * 256 : start;
            found[2 * i + 1] = each;
        }
        return found;
    }

    /** A percentile of sorted values, interpolated linearly. */
    static double percentile(float[] sorted, double percent) {
        double place = percent * 0.01d * (sorted.length - 1);
        int below = (int) Math.floor(place);
        int above = Math.min(below + 1, sorted.length - 1);
        double lower = sorted[below];
        double upper = sorted[above];
        return lower + (upper - lower) * (place - below);
    }
}
// </tiles>

def imageData = getCurrentImageData()
if (imageData == null)
    throw new IllegalStateException('Open an image first.')
def server = imageData.getServer()
if (server.nChannels() != channels)
    throw new IllegalStateException("The model takes ${channels} channels, but the image has ${server.nChannels()}.")

def candidates = [new File(modelFile)]
if (getProject() != null)
    candidates += [new File(buildFilePath(PROJECT_BASE_DIR, modelFile)), new File(buildFilePath(PROJECT_BASE_DIR, 'scripts', modelFile))]
def found = candidates.find { it.isFile() }
if (found == null)
    throw new IllegalStateException("${modelFile} was not found: write its full path at the top of the script, or copy it into the folder of the project.")
def net = opencv_dnn.readNetFromONNX(found.getAbsolutePath())

def calibration = server.getPixelCalibration()
if (pixelSizeUm != null && calibration.hasPixelSizeMicrons()) {
    def here = calibration.getAveragedPixelSizeMicrons()
    if (Math.abs(here / pixelSizeUm[0] - 1) > 0.1)
        println "Warning: pixels of ${here} um, but the model was trained on ${pixelSizeUm[0]} um."
}

def readPixels = { int x, int y, int width, int height, int z, int t ->
    server.readRegion(RegionRequest.createInstance(server.getPath(), 1.0d, x, y, width, height, z, t)).getRaster()
}

// Grey values that become 0 and 1 in each channel.
def levelsOf = { int z, int t ->
    if (percentiles == null)
        return (0..<channels).collect { [0.0d, 1.0d] as double[] }
    def rows = CellClassTiles.sampled(server.getHeight(), server.getWidth())
    def columns = CellClassTiles.sampled(server.getWidth(), server.getHeight())
    def parts = (0..<channels).collect { [] }
    for (int i = 0; i < rows.length; i += 2)
        for (int j = 0; j < columns.length; j += 2) {
            def raster = readPixels(columns[j], rows[i], columns[j + 1], rows[i + 1], z, t)
            for (int c = 0; c < channels; c++)
                parts[c] << raster.getSamples(0, 0, raster.getWidth(), raster.getHeight(), c, (float[]) null)
        }
    return parts.collect { all ->
        int size = all.sum { it.length }
        float[] values = new float[size]
        int at = 0
        all.each { System.arraycopy(it, 0, values, at, it.length); at += it.length }
        Arrays.sort(values)
        double low = CellClassTiles.percentile(values, percentiles[0] as double)
        double high = CellClassTiles.percentile(values, percentiles[1] as double)
        [low, high > low ? high : low + 1] as double[]
    }
}

def ys = CellClassTiles.starts(server.getHeight(), tileHeight, stepY, edge)
def xs = CellClassTiles.starts(server.getWidth(), tileWidth, stepX, edge)
def dy = CellClassTiles.points(tileHeight), dx = CellClassTiles.points(tileWidth)
int size = tileHeight * tileWidth
float[] values = new float[channels * size]
float[] probabilities = new float[classNames.size()]
def blob = new Mat(4, [1, channels, tileHeight, tileWidth] as int[], opencv_core.CV_32F)
def tileName = "cellclass ${modelId.take(8)}".toString()

removeObjects(getDetectionObjects().findAll { it.isTile() && it.getName() == tileName }, true)
def regions = getSelectedObjects().findAll { it.isAnnotation() && it.getROI().isArea() }
if (regions.isEmpty())
    regions = [null]
int total = 0
regions.each { region ->
    def roi = region?.getROI()
    def plane = roi == null ? ImagePlane.getDefaultPlane() : roi.getImagePlane()
    def levels = levelsOf(plane.getZ(), plane.getT())
    def tiles = []
    for (int y : ys) {
        if (roi != null && (y + tileHeight <= roi.getBoundsY() || y >= roi.getBoundsY() + roi.getBoundsHeight()))
            continue
        for (int x : xs) {
            if (roi != null) {
                if (x + tileWidth <= roi.getBoundsX() || x >= roi.getBoundsX() + roi.getBoundsWidth())
                    continue
                int inside = 0
                for (double py : dy)
                    for (double px : dx)
                        if (roi.contains(x + px, y + py))
                            inside++
                if (inside < cover * 64)
                    continue
            }
            int height = Math.min(tileHeight, server.getHeight() - y), width = Math.min(tileWidth, server.getWidth() - x)
            def raster = readPixels(x, y, width, height, plane.getZ(), plane.getT())
            for (int c = 0; c < channels; c++) {
                float[] pixels = raster.getSamples(0, 0, width, height, c, (float[]) null)
                CellClassTiles.copy(pixels, height, width, values, c * size, tileHeight, tileWidth, levels[c][0], levels[c][1])
            }
            new FloatPointer(blob.data()).put(values)
            net.setInput(blob)
            def result = net.forward()
            new FloatPointer(result.data()).get(probabilities)
            int best = CellClassTiles.likeliest(probabilities)
            def tile = PathObjects.createTileObject(ROIs.createRectangleROI(x, y, width, height, plane), PathClass.fromString(classNames[best]), null)
            tile.setName(tileName)
            def measurements = tile.getMeasurementList()
            classNames.eachWithIndex { name, i -> measurements.put("cellclass: ${name}".toString(), probabilities[i]) }
            measurements.close()
            tiles << tile
            result.close()
        }
    }
    if (region == null)
        addObjects(tiles)
    else
        region.addChildObjects(tiles)
    total += tiles.size()
}
blob.close()
fireHierarchyUpdate()
println "${total} tiles classified by ${found.getName()}."
