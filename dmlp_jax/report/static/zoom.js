/** Shows the picture and the text of a row as large as the window. */
class Zoom {
  constructor(rows) {
    this.rows = rows;
    this.dialog = byId("dialog");
    this.dialog.addEventListener("click", () => this.dialog.close());
    // Small pictures are enlarged pixel by pixel.
    const image = this.dialog.querySelector("img");
    image.addEventListener("load", () => image.classList.toggle("pixels", image.naturalWidth <= 64));
  }

  toggle(entry) {
    if (this.dialog.open) {
      this.dialog.close();
      return;
    }
    fillPicture(this.dialog.querySelector("img"), this.rows.picture(entry));
    this.dialog.querySelector("p").textContent = this.rows.text(entry) || this.rows.name(entry);
    this.dialog.showModal();
  }
}
