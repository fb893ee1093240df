"""Pictures of images as PNG bytes: the template, and a map over it."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from PIL import Image as Picture

from regcore.image import Image
from regcore.qc.planes import NAMES, Convention, Plane, foreground_box, planes

OUTLINE = "#ffb000"
MASK_OUTLINE = "#38c6f4"
DPI = 100


def png_bytes(figure: Figure, palette: Sequence[str] | None = None, dpi: int = DPI) -> bytes:
    """Render a figure without a display; the same figure gives the same bytes.

    Parameters
    ----------
    figure : Figure
        Rendered at `dpi` dots an inch.
    palette : sequence of str, optional
        Colours drawn over grey: the picture is reduced to greys and mixtures of these with grey, several
        times smaller; an empty one keeps every grey. Without it, the 256 colours that fit best.
    """
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(dpi)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    picture = Picture.fromarray(pixels).convert("RGB")
    if palette is None:
        reduced = picture.quantize(256, method=Picture.Quantize.MAXCOVERAGE, dither=Picture.Dither.NONE)
    elif not palette:
        reduced = picture.convert("L")
    else:
        fixed = Picture.new("P", (1, 1))
        fixed.putpalette(mixtures(palette))
        reduced = picture.quantize(palette=fixed, dither=Picture.Dither.NONE)
    stream = io.BytesIO()
    reduced.save(stream, format="PNG", optimize=True)
    return stream.getvalue()


def mixtures(colours: Sequence[str], greys: int = 32) -> list[int]:
    """Palette of greys and of each colour mixed with a few greys, as red, green, blue in turn.

    Examples
    --------
    >>> len(mixtures(["#ffb000"])) // 3
    68
    """
    # Pillow looks colours up in steps of 8 levels: with 32 greys white stays white and black stays black
    levels = np.linspace(0, 255, greys)
    rows = [np.repeat(levels[:, None], 3, axis=1)]
    backgrounds = np.repeat(np.linspace(0, 255, 9)[:, None], 3, axis=1)
    for colour in colours:
        full = 255 * np.array(to_rgb(colour))
        rows += [backgrounds * (1 - share) + full * share for share in (0.4, 0.6, 0.8, 1.0)]
    return [int(level) for level in np.rint(np.concatenate(rows)).ravel()]


def window(image: Image, lower: float = 1.0, upper: float = 99.5) -> tuple[float, float]:
    """Black and white level of a picture, from percentiles of the voxels that are neither zero nor NaN.

    Examples
    --------
    >>> from regcore.space import Grid
    >>> window(Image(np.zeros((2, 2, 2), np.float32), Grid((2, 2, 2), np.eye(4))))
    (0.0, 1.0)
    """
    values = image.data[np.isfinite(image.data) & (image.data != 0)]
    if values.size == 0:
        return 0.0, 1.0
    low, high = (float(level) for level in np.percentile(values, [lower, upper]))
    low = min(low, 0.0) if low > 0 else low
    return (low, high) if high > low else (low, low + 1.0)


def otsu_levels(values: npt.NDArray[np.float32]) -> tuple[float, float] | None:
    """Two levels that split values into three classes (dark, middle, bright); None where all are equal.

    References
    ----------
    Otsu N. doi:10.1109/TSMC.1979.4310076

    Examples
    --------
    >>> low, high = otsu_levels(np.repeat(np.float32([0, 5, 9]), 50))
    >>> 0 < low < 5 < high < 9
    True
    """
    finite = values[np.isfinite(values)]
    if finite.size == 0 or finite.min() == finite.max():
        return None
    top = float(np.percentile(finite, 99.5))
    counts, edges = np.histogram(np.minimum(finite, top), bins=96)
    middles = (edges[1:] + edges[:-1]) / 2
    weight = np.concatenate([[0.0], np.cumsum(counts)])
    moment = np.concatenate([[0.0], np.cumsum(counts * middles)])
    first, second = np.meshgrid(np.arange(1, 96), np.arange(1, 96), indexing="ij")
    score = np.zeros(first.shape)
    for start, stop in ((np.zeros_like(first), first), (first, second), (second, np.full_like(first, 96))):
        share = weight[stop] - weight[start]
        score += (moment[stop] - moment[start]) ** 2 / np.maximum(share, 1e-12)
    score[second <= first] = -np.inf
    # several levels score alike where the histogram has a gap: the middle of the gap
    best = np.argwhere(score >= score.max() * (1 - 1e-9)).mean(axis=0)
    return tuple(float(np.interp(b + 1, np.arange(97), edges)) for b in best)  # type: ignore[return-value]


def canvas_of_planes(
    shown: Sequence[Plane], width_px: int, footer_px: int = 0, gap_px: int = 6
) -> tuple[Figure, list[Axes]]:
    """Black figure with one axes a plane, all at the same scale in mm, side by side."""
    tallest = max(plane.size_mm[1] for plane in shown)
    gaps = gap_px * (len(shown) - 1)
    # a tall picture, such as a single plane, is not wider than high pictures remain readable
    scale = min((width_px - gaps) / sum(plane.size_mm[0] for plane in shown), 0.6 * width_px / tallest)
    widths = [plane.size_mm[0] * scale for plane in shown]
    total = float(width_px)
    height_px = round(tallest * scale)
    full = height_px + footer_px
    figure = Figure(figsize=(total / DPI, full / DPI), dpi=DPI, facecolor="black")
    axes, left = [], (total - sum(widths) - gaps) / 2
    for plane, wide in zip(shown, widths, strict=True):
        tall = plane.size_mm[1] * scale
        bottom = footer_px + (height_px - tall) / 2
        axes.append(figure.add_axes((left / total, bottom / full, wide / total, tall / full)))
        axes[-1].set_axis_off()
        left += wide + gap_px
    return figure, axes


def draw_plane(axes: Axes, plane: Plane, levels: tuple[float, float], colours: str = "gray") -> AxesImage:
    """Show one plane, filling its axes."""
    drawn = axes.imshow(
        plane.values, origin="lower", cmap=colours, vmin=levels[0], vmax=levels[1],
        aspect="auto", interpolation="bilinear",
    )  # fmt: skip
    axes.set_autoscale_on(False)
    return drawn


def name_sides(axes: Axes, plane: Plane, size: float = 9) -> None:
    """Write the letters of the left and right edges."""
    for x, letter, align in ((0.01, plane.sides[0], "left"), (0.99, plane.sides[1], "right")):
        axes.text(
            x, 0.5, letter, transform=axes.transAxes, color="white", fontsize=size, fontweight="bold",
            ha=align, va="center",
        )  # fmt: skip


def template_figure(
    template: Image,
    mask: Image | None = None,
    *,
    width_px: int = 1040,
    convention: Convention = "neurological",
) -> bytes:
    """Template in three planes through the middle of its foreground, as a PNG.

    Parameters
    ----------
    template : Image
        Any orientation; a 2D image gives one plane.
    mask : Image, optional
        On the template's grid; centres and frames the picture.
    width_px : int
        Width of the picture.
    convention : {"neurological", "radiological"}
        Side on which the subject's left is shown; the letters L and R are drawn either way.
    """
    shown = planes(template, foreground_box(template, mask), convention)
    figure, axes = canvas_of_planes(shown, width_px, footer_px=18)
    levels = window(template)
    for ax, plane in zip(axes, shown, strict=True):
        draw_plane(ax, plane, levels)
        name_sides(ax, plane)
        caption = f"{plane.name}  {'xyz'[NAMES.index(plane.name)]} = {plane.position_mm:.0f} mm"
        box = ax.get_position()
        figure.text(
            (box.x0 + box.x1) / 2,
            5 / (figure.get_figheight() * DPI),
            caption,
            color="#bbbbbb",
            fontsize=7,
            ha="center",
        )
    return png_bytes(figure, palette=())


def map_figure(
    values: Image,
    template: Image,
    mask: Image | None = None,
    *,
    label: str = "",
    width_px: int = 1040,
    convention: Convention = "neurological",
) -> bytes:
    """Map of non-negative values on the template's grid with the template's outlines and a scale, as a PNG.

    Parameters
    ----------
    values, template : Image
        On the same grid.
    mask : Image, optional
        The template's mask; frames the picture.
    label : str
        What the scale shows, with its unit.
    """
    box = foreground_box(template, mask)
    shown, under = planes(values, box, convention), planes(template, box, convention)
    figure, axes = canvas_of_planes(shown, width_px, footer_px=52)
    top = window(values, upper=99.8)[1]
    inside = template.data if mask is None else template.data[mask.data > 0]
    split = otsu_levels(np.asarray(inside, dtype=np.float32).ravel())
    drawn = None
    for ax, plane, outline in zip(axes, shown, under, strict=True):
        drawn = draw_plane(ax, plane, (0.0, top), colours="inferno")
        if split is not None:
            ax.contour(outline.values, levels=[split[0]], colors=["#ffffff66"], linewidths=0.5)
        name_sides(ax, plane)
    tall = figure.get_figheight() * DPI
    scale = figure.add_axes((0.25, 34 / tall, 0.5, 10 / tall))
    bar = figure.colorbar(drawn, cax=scale, orientation="horizontal")  # type: ignore[arg-type]
    bar.set_label(label, color="white", fontsize=8, labelpad=1, parse_math=False)
    bar.outline.set_edgecolor("#888888")
    scale.tick_params(colors="white", labelsize=7, length=2, pad=1)
    return png_bytes(figure)
