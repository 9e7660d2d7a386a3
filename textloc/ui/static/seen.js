// Scroll the row of a button sideways until it is seen.
const seen = (button) => {
  const strip = button.parentElement;
  const left = button.offsetLeft - strip.offsetLeft;
  if (left < strip.scrollLeft || left + button.offsetWidth > strip.scrollLeft + strip.clientWidth)
    strip.scrollLeft = left - strip.clientWidth / 2;
};
