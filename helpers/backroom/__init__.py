"""What no lesson explains, and no lesson imports: the rooms in front rely on it.

====================================  ======================================================================
for ``images``                        ``decode`` opens any file right (``kinds``: what it is; ``mend``: damage that
                                      costs no pixels; ``paint``: deep greys, transparency), ``folders`` finds
                                      pictures and their classes in any layout, ``place`` knows where the course lies
for ``show``                          ``charts`` draws, ``fonts`` draws names in any script
for ``clip``                          ``weights`` fetches models whole, ``speed`` makes encoding fast
for ``store``                         ``homes`` opens Chroma in memory, in a folder or on a server, ``filters``
                                      checks what is asked, ``graph`` finds again what Chroma's graph has lost
====================================  ======================================================================
"""
