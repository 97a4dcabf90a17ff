"""What a script uses of QuPath and of OpenCV for Java, as small classes: the script runs, its tiles are printed.

The image is read from a text file: height, width, channels, then the values channel by channel. The network answers
with three values of its input: the first, the last, and one of the middle.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

GROOVY = Path("/usr/share/java/groovy-all.jar")  # of Debian's package groovy

_SOURCES = {
    "org/bytedeco/javacpp/FloatPointer": """
public class FloatPointer {
    private final float[] memory;
    public FloatPointer(Object memory) { this.memory = (float[]) memory; }
    public FloatPointer put(float[] values) { System.arraycopy(values, 0, memory, 0, values.length); return this; }
    public FloatPointer get(float[] values) { System.arraycopy(memory, 0, values, 0, values.length); return this; }
}""",
    "org/bytedeco/opencv/global/opencv_core": "public class opencv_core { public static final int CV_32F = 5; }",
    "org/bytedeco/opencv/global/opencv_dnn": """
public class opencv_dnn {
    public static org.bytedeco.opencv.opencv_dnn.Net readNetFromONNX(String path) {
        return new org.bytedeco.opencv.opencv_dnn.Net();
    }
}""",
    "org/bytedeco/opencv/opencv_core/Mat": """
public class Mat {
    private final float[] memory;
    public Mat(int dims, int[] sizes, int type) {
        int size = 1;
        for (int side : sizes) size *= side;
        memory = new float[size];
    }
    public Object data() { return memory; }
    public void close() { }
}""",
    "org/bytedeco/opencv/opencv_dnn/Net": """
public class Net {
    private float[] seen;
    public void setInput(org.bytedeco.opencv.opencv_core.Mat blob) { seen = (float[]) blob.data(); }
    public org.bytedeco.opencv.opencv_core.Mat forward() {
        org.bytedeco.opencv.opencv_core.Mat out = new org.bytedeco.opencv.opencv_core.Mat(2, new int[] {1, 3}, 5);
        float[] values = (float[]) out.data();
        values[0] = seen[0];
        values[1] = seen[seen.length - 1];
        values[2] = seen[seen.length / 2 + 1];
        return out;
    }
}""",
    "qupath/lib/objects/classes/PathClass": """
public class PathClass {
    public final String name;
    private PathClass(String name) { this.name = name; }
    public static PathClass fromString(String name) { return new PathClass(name); }
}""",
    "qupath/lib/regions/ImagePlane": """
public class ImagePlane {
    public static ImagePlane getDefaultPlane() { return new ImagePlane(); }
    public int getZ() { return 0; }
    public int getT() { return 0; }
}""",
    "qupath/lib/regions/RegionRequest": """
public class RegionRequest {
    public int x, y, width, height;
    public static RegionRequest createInstance(
        String path, double downsample, int x, int y, int w, int h, int z, int t) {
        RegionRequest made = new RegionRequest();
        made.x = x; made.y = y; made.width = w; made.height = h;
        return made;
    }
}""",
    "qupath/lib/roi/ROIs": """
public class ROIs {
    public final double x, y, width, height;
    private ROIs(double x, double y, double width, double height) {
        this.x = x; this.y = y; this.width = width; this.height = height;
    }
    public static ROIs createRectangleROI(double x, double y, double w, double h, qupath.lib.regions.ImagePlane plane) {
        return new ROIs(x, y, w, h);
    }
    public boolean isArea() { return true; }
    public boolean contains(double px, double py) { return px >= x && px < x + width && py >= y && py < y + height; }
    public double getBoundsX() { return x; }
    public double getBoundsY() { return y; }
    public double getBoundsWidth() { return width; }
    public double getBoundsHeight() { return height; }
    public qupath.lib.regions.ImagePlane getImagePlane() { return new qupath.lib.regions.ImagePlane(); }
}""",
    "qupath/lib/objects/PathObjects": """
public class PathObjects {
    public final qupath.lib.roi.ROIs roi;
    public final qupath.lib.objects.classes.PathClass type;
    public final java.util.Map<String, Double> values = new java.util.LinkedHashMap<>();
    public final java.util.List<Object> children = new java.util.ArrayList<>();
    private String name;
    public PathObjects(qupath.lib.roi.ROIs roi, qupath.lib.objects.classes.PathClass type) {
        this.roi = roi; this.type = type;
    }
    public static PathObjects createTileObject(
        qupath.lib.roi.ROIs roi, qupath.lib.objects.classes.PathClass type, Object values) {
        return new PathObjects(roi, type);
    }
    public void setName(String name) { this.name = name; }
    public String getName() { return name; }
    public boolean isTile() { return type != null; }
    public boolean isAnnotation() { return type == null; }
    public qupath.lib.roi.ROIs getROI() { return roi; }
    public PathObjects getMeasurementList() { return this; }
    public void put(String key, double value) { values.put(key, value); }
    public void close() { }
    public void addChildObjects(java.util.Collection<?> found) { children.addAll(found); }
}""",
    "FakeScript": """
import java.awt.image.*;
import java.util.*;
import qupath.lib.objects.PathObjects;
public abstract class FakeScript extends groovy.lang.Script {
    public static Server server;
    public static List<PathObjects> objects = new ArrayList<>(), selected = new ArrayList<>();
    public static class Server {
        int height, width, channels;
        WritableRaster all;
        public int nChannels() { return channels; }
        public int getHeight() { return height; }
        public int getWidth() { return width; }
        public String getPath() { return "image"; }
        public Server getServer() { return this; }
        public Server getPixelCalibration() { return this; }
        public boolean hasPixelSizeMicrons() { return true; }
        public double getAveragedPixelSizeMicrons() { return 0.75; }
        public Part readRegion(qupath.lib.regions.RegionRequest r) {
            return new Part(all.createChild(r.x, r.y, r.width, r.height, 0, 0, null));
        }
    }
    public static class Part {
        private final Raster raster;
        Part(Raster raster) { this.raster = raster; }
        public Raster getRaster() { return raster; }
    }
    public Server getCurrentImageData() { return server; }
    public Object getProject() { return null; }
    public Collection<PathObjects> getDetectionObjects() { return objects; }
    public Collection<PathObjects> getSelectedObjects() { return selected; }
    public void removeObjects(Collection<?> gone, boolean keep) { objects.removeAll(gone); }
    public void addObjects(Collection<PathObjects> more) { objects.addAll(more); }
    public void fireHierarchyUpdate() { }
    public static void main(String[] words) throws Exception {
        Scanner text = new Scanner(new java.io.File(words[1]));
        server = new Server();
        server.height = text.nextInt(); server.width = text.nextInt(); server.channels = text.nextInt();
        server.all = Raster.createBandedRaster(
            DataBuffer.TYPE_USHORT, server.width, server.height, server.channels, null);
        for (int c = 0; c < server.channels; c++)
            for (int y = 0; y < server.height; y++)
                for (int x = 0; x < server.width; x++)
                    server.all.setSample(x, y, c, text.nextInt());
        if (words.length > 2) {
            double[] box = new double[4];
            for (int i = 0; i < 4; i++) box[i] = Double.parseDouble(words[2 + i]);
            selected.add(new PathObjects(
                qupath.lib.roi.ROIs.createRectangleROI(box[0], box[1], box[2], box[3], null), null));
        }
        org.codehaus.groovy.control.CompilerConfiguration how = new org.codehaus.groovy.control.CompilerConfiguration();
        how.setScriptBaseClass("FakeScript");
        groovy.lang.GroovyShell shell = new groovy.lang.GroovyShell(
            FakeScript.class.getClassLoader(), new groovy.lang.Binding(), how);
        for (int run = 0; run < 2; run++) {
            for (PathObjects one : selected) one.children.clear();
            shell.evaluate(new java.io.File(words[0]));
        }
        List<Object> found = new ArrayList<>(objects);
        for (PathObjects one : selected) found.addAll(one.children);
        for (Object each : found) {
            PathObjects tile = (PathObjects) each;
            System.out.println("tile;" + (int) tile.roi.y + ";" + (int) tile.roi.x + ";" + (int) tile.roi.height + ";"
                + (int) tile.roi.width + ";" + tile.type.name + ";" + tile.values);
        }
    }
}""",
}


def can_run() -> bool:
    """Tell whether Java and Groovy are installed."""
    return shutil.which("javac") is not None and GROOVY.is_file()


def compiled(folder: Path) -> Path:
    """Compile the classes into a folder."""
    for name, source in _SOURCES.items():
        path = folder / "src" / f"{name}.java"
        path.parent.mkdir(parents=True, exist_ok=True)
        package = f"package {name.rpartition('/')[0].replace('/', '.')};" if "/" in name else ""
        path.write_text(package + source, encoding="utf-8")
    files = [str(path) for path in (folder / "src").rglob("*.java")]
    _java("javac", "-cp", str(GROOVY), "-d", str(folder / "classes"), *files)
    return folder / "classes"


def run_script(script: Path, image: Path, classes: Path, *box: float) -> tuple[list[list[str]], str]:
    """Run a script twice on an image, or on a box x, y, width, height of it; give the tiles, and what was printed."""
    places = f"{classes}:{GROOVY}"
    printed = _java(
        "java", "-Dfile.encoding=UTF-8", "-cp", places, "FakeScript", str(script), str(image), *map(str, box)
    )
    return [line.split(";")[1:] for line in printed.splitlines() if line.startswith("tile;")], printed


def _java(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False, encoding="utf-8")
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
