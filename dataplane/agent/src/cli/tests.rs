//! Every page against the text it must be: `samples/NAME.json` is what the agent answers, `samples/NAME.txt` what a person sees.
//! SLUICE_UPDATE=1 writes the texts anew, to be read as a difference.
