"""How the page looks: theme and style sheet, without fonts from the network."""

from pathlib import Path
from typing import Any

import gradio as gr

STATIC = Path(__file__).parent / "static"
STYLES = [STATIC / "page.css", STATIC / "gallery.css"]

_SANS = ("Inter", "system-ui", "-apple-system", "Segoe UI", "Helvetica Neue", "Arial", "sans-serif")
_MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")


def theme() -> Any:
    """A calm theme in the colours of the figures, light and dark."""
    made = gr.themes.Base(
        primary_hue=gr.themes.colors.sky,
        neutral_hue=gr.themes.colors.slate,
        font=_SANS,
        font_mono=_MONO,
        radius_size=gr.themes.sizes.radius_md,
        text_size=gr.themes.sizes.text_md,
    )
    return made.set(
        body_text_color_subdued="#5b6270",
        body_text_color_subdued_dark="#a3adbb",
        block_info_text_color="#5b6270",
        block_info_text_color_dark="#a3adbb",
        body_background_fill="#f6f7f9",
        body_background_fill_dark="#060a12",
        background_fill_primary_dark="#0b0f19",
        block_background_fill="#ffffff",
        block_background_fill_dark="#0b0f19",
        block_border_width="0px",
        block_shadow="none",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        input_background_fill="#ffffff",
        input_background_fill_dark="#111827",
        input_border_color="#cbd2dc",
        input_border_color_dark="#334155",
        input_border_width="1px",
        button_primary_background_fill="#0072b2",
        button_primary_background_fill_hover="#005f95",
        button_primary_background_fill_dark="#0a71b0",
        button_primary_background_fill_hover_dark="#2b96d6",
        button_primary_text_color="#ffffff",
        button_primary_text_color_dark="#ffffff",
        button_primary_border_color="#0072b2",
        button_secondary_background_fill="#ffffff",
        button_secondary_background_fill_dark="#111827",
        button_secondary_border_color="#cbd2dc",
        button_secondary_border_color_dark="#334155",
    )
