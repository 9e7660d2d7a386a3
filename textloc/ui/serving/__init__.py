"""What the page serves beside Gradio's own answers: Plotly.js early, and results as ZIP files."""
