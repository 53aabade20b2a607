"""Every recommender, by its name in YAML."""

from recsys.models.base import Recommender
from recsys.models.cl4srec import CL4SRec
from recsys.models.contrastive import Contrastive
from recsys.models.contrastive_sequence import ContrastiveSequence
from recsys.models.dccf import DCCF
from recsys.models.directau import DirectAU
from recsys.models.duorec import DuoRec
from recsys.models.ease import EASE
from recsys.models.gru4rec import GRU4Rec
from recsys.models.hccf import HCCF
from recsys.models.iclrec import ICLRec
from recsys.models.icsrec import ICSRec
from recsys.models.itemknn import ItemKNN
from recsys.models.lightgcl import LightGCL
from recsys.models.lightgcn import LightGCN
from recsys.models.mclrec import MCLRec
from recsys.models.metapath_lightgcn import MetaPathLightGCN
from recsys.models.mf import MF
from recsys.models.ncl import NCL
from recsys.models.popularity import Popularity
from recsys.models.recency import Recency
from recsys.models.sasrec import SASRec
from recsys.models.sgl import SGL
from recsys.models.simgcl import SimGCL
from recsys.models.xsimgcl import XSimGCL

MODELS: dict[str, type[Recommender]] = {
    # floors and closed forms
    "popularity": Popularity,
    "recency": Recency,
    "itemknn": ItemKNN,
    "ease": EASE,
    # graphs
    "mf": MF,
    "lightgcn": LightGCN,
    "sgl": SGL,
    "simgcl": SimGCL,
    "xsimgcl": XSimGCL,
    "lightgcl": LightGCL,
    "directau": DirectAU,
    "ncl": NCL,
    "hccf": HCCF,
    "dccf": DCCF,
    "contrastive": Contrastive,
    "metapath_lightgcn": MetaPathLightGCN,
    # sequences
    "gru4rec": GRU4Rec,
    "sasrec": SASRec,
    "cl4srec": CL4SRec,
    "duorec": DuoRec,
    "iclrec": ICLRec,
    "icsrec": ICSRec,
    "mclrec": MCLRec,
    "contrastive_sequence": ContrastiveSequence,
}
